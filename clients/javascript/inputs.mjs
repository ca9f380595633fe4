/**
 * Inputs of a graph that labels each text separately: token ids, or the indices of n-grams.
 *
 * @typedef {import("./bundle.mjs").Means} Means
 * @typedef {import("./segments.mjs").Part} Part
 * @typedef {Record<string, number[]>} Row input of one segment in one view: columns by name, all of the same length
 * @typedef {(view: string, part: Part) => Row} Encode
 * @typedef {{type: "int64" | "float32", data: BigInt64Array | Float32Array, dims: number[]}} Table
 * @typedef {{rows: (number | null)[], feeds: Record<string, Table>}} Batch one run of the graph: its inputs by name, and the number of
 *   the segment for each row of its outputs, or null if there is none
 * @typedef {(means: Means, given: any, views: string[]) => Promise<(parts: Part[]) => Iterable<Batch>>} Input made from the description of
 *   the input in `haltung.json` and what each pass of the encoder reads
 */

import { readJson } from "./bundle.mjs";
import { pieces } from "./segments.mjs";
import { tokenizer } from "./tokenizer.mjs";

/** Maximum number of tokens per run of the graph, including padding. */
export const BATCH = 4096;

// Minimum number of context tokens to be useful.
const LEAST_PAIR = 4;

/** Each text as a separate row. @param {(means: Means, given: any) => Promise<Encode>} make @returns {Input} */
export const rowwise = (make) => async (means, given, views) => {
  const encode = await make(means, given);
  return function* (parts) {
    const encoded = parts.map((part) => views.map((view) => encode(view, part)));
    const lengths = encoded.map((row) => row.reduce((sum, columns) => sum + length(columns), 0));
    for (const rows of batches(lengths)) {
      /** @type {Record<string, Table>} */
      const feeds = {};
      views.forEach((view, place) => {
        const columns = rows.map((row) => encoded[row][place]);
        for (const name of Object.keys(columns[0])) {
          const values = columns.map((column) => column[name]);
          feeds[views.length > 1 ? `${view}.${name}` : name] = table(values, name === "input_ids" ? given.pad : 0, name === "counts");
        }
      });
      yield { rows, feeds };
    }
  };
};

/** @param {Row} row */
const length = (row) => Object.values(row)[0].length;

/** Yield batches of rows of similar length, longest first, to reduce padding. @param {number[]} lengths */
function* batches(lengths) {
  const rows = [...lengths.keys()].sort((a, b) => lengths[b] - lengths[a]);
  while (rows.length) yield rows.splice(0, Math.max(1, Math.floor(BATCH / Math.max(1, lengths[rows[0]]))));
}

/** Rows of numbers, padded on the right to the longest. @param {number[][]} rows @param {number} fill @returns {Table} */
export function table(rows, fill, real = false) {
  const width = rows.reduce((most, row) => Math.max(most, row.length), 1);
  const dims = [rows.length, width];
  if (real) {
    const data = new Float32Array(rows.length * width).fill(fill);
    rows.forEach((row, place) => data.set(row, place * width));
    return { type: "float32", data, dims };
  }
  const data = new BigInt64Array(rows.length * width).fill(BigInt(fill));
  rows.forEach((row, place) => data.set(row.map(BigInt), place * width));
  return { type: "int64", data, dims };
}

/**
 * Encode texts as token ids, as in training: see docs/bundle.md, "From a text to ids".
 *
 * @param {Means} means
 * @param {any} given what `haltung.json` says of the input
 * @returns {Promise<Encode>}
 */
export async function tokens(means, given) {
  const { prefix, max_length: longest, single, pair, types } = given;
  const ids = tokenizer(means.Tokenizer, await readJson(means, given.tokenizer));
  const assembled = (/** @type {number[][]} */ parts, /** @type {"single" | "pair"} */ kind, /** @type {number} */ own) => {
    const marked = (/** @type {(place: number) => number} */ mark) => parts.flatMap((part, place) => part.map(() => mark(place)));
    const row = { input_ids: parts.flat(), attention_mask: marked(() => 1), own_mask: marked((place) => Number(place === own)) };
    return types ? { ...row, token_type_ids: marked((place) => types[kind][place]) } : row;
  };
  return (view, part) => {
    const [target, context] = /** @type {const} */ (["target", "context"]).map((name) =>
      view.includes(name) && pieces(part[name]).length ? ids(prefix + part[name]) : [],
    );
    const text = ids(part.text);
    const room = longest - pair.flat().length;
    // A text that fills the input is read without context: a few tokens of context would truncate the text.
    if (!target.length && (!context.length || room - text.length < LEAST_PAIR)) {
      const whole = prefix ? ids(prefix + part.text) : text;
      return assembled([single[0], whole.slice(0, longest - single.flat().length), single[1]], "single", 1);
    }
    const own = text.slice(0, Math.max(1, room - Math.min(target.length, Math.floor(longest / 2))));
    const first = target.slice(0, room - own.length);
    const second = context.slice(Math.max(0, context.length - (room - own.length - first.length)));
    return assembled([pair[0], [...first, ...second], pair[1], own, pair[2]], "pair", 3);
  };
}

/**
 * Encode texts as the indices of n-grams, extracted as by scikit-learn's vectorizers: see docs/bundle.md, "From a text to n-grams".
 *
 * @param {Means} means
 * @param {any} given what `haltung.json` says of the input
 * @returns {Promise<Encode>}
 */
export async function ngrams(means, given) {
  const lists = await readJson(means, given.vocabulary);
  const numbered = (/** @type {string} */ view, /** @type {any} */ part) => {
    const places = lists[view][part.name].map((/** @type {string} */ ngram, /** @type {number} */ place) => [ngram, part.first + place]);
    return { ...part, numbers: new Map(places) };
  };
  const parts = Object.fromEntries(
    Object.entries(given.parts).map(([view, has]) => [view, has.map((/** @type {any} */ part) => numbered(view, part))]),
  );
  return (view, part) => {
    const before = /** @type {const} */ (["target", "context"]).filter((name) => view.includes(name) && part[name]);
    const texts = { text: part.text.toLowerCase(), before: before.map((name) => part[name]).join(" ").toLowerCase() };
    const counts = new Map();
    for (const { of, unit, sizes, numbers } of parts[view]) {
      const [least, most] = sizes;
      for (const ngram of (unit === "word" ? wordNgrams : characterNgrams)(texts[/** @type {"text" | "before"} */ (of)], least, most)) {
        const number = numbers.get(ngram);
        if (number !== undefined) counts.set(number, (counts.get(number) ?? 0) + 1);
      }
    }
    return { numbers: [...counts.keys()], counts: [...counts.values()] };
  };
}

/** @param {string} text @param {number} least @param {number} most */
function* wordNgrams(text, least, most) {
  const words = text.match(/[\p{L}\p{N}_]+/gu) ?? [];
  for (let n = least; n <= most; n++) {
    for (let first = 0; first + n <= words.length; first++) yield words.slice(first, first + n).join(" ");
  }
}

/** @param {string} text @param {number} least @param {number} most */
function* characterNgrams(text, least, most) {
  for (const piece of pieces(text)) {
    const characters = [" ", ...piece, " "];
    for (let n = least; n <= most; n++) {
      for (let first = 0; first === 0 || first + n <= characters.length; first++) yield characters.slice(first, first + n).join("");
      if (characters.length <= n) break;
    }
  }
}
