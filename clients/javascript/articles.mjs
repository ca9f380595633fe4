/**
 * Inputs of a graph that labels whole articles: each sentence once, together with its neighbours. See
 * docs/bundle.md, "From articles to packed sentences".
 *
 * @typedef {import("./segments.mjs").Part} Part
 * @typedef {import("./inputs.mjs").Row} Row
 * @typedef {{sentences: Part[], rows: (number | null)[]}} Unit sentences that are read together, in order, each with the number of its
 *   segment; null for a headline or a context, which is not labelled
 */

import { BATCH, table, tokens } from "./inputs.mjs";
import { stripped } from "./segments.mjs";

// Kinds of cells in the table of articles: empty, a headline or context, a sentence to label.
const [NOTHING, BEFORE, LABELLED] = [-1, 0, 1];

/** Articles as packed sentences. @type {import("./inputs.mjs").Input} */
export const articles = async (means, given, [view]) => {
  const encode = await tokens(means, given);
  return function* (parts) {
    const encoded = units(parts, given.window).map((unit) => ({ ...unit, tokens: unit.sentences.map((part) => encode(view, part)) }));
    for (const chosen of batches(encoded)) {
      const longest = Math.max(...chosen.map((unit) => unit.rows.length));
      const packed = pack(chosen.flatMap((unit) => unit.tokens), given);
      const place = chosen.flatMap((unit, number) => unit.rows.map((_, sentence) => number * longest + sentence));
      const kind = chosen.map((unit) => unit.rows.map((row) => (row === null ? BEFORE : LABELLED)));
      const feeds = { ...packed, place: { ...table([place], 0), dims: [place.length] }, kind: table(kind, NOTHING) };
      yield { rows: chosen.flatMap((unit) => unit.rows), feeds };
    }
  };
};

/**
 * Group what is read together: the segments of an article by position, after the headline of the first one given. A segment without article
 * or position is read alone, after its context. Articles of more than `window` segments are split, and each part follows the headline.
 *
 * @param {Part[]} parts
 * @param {number} window
 */
function units(parts, window) {
  /** @type {Unit[]} */
  const whole = [];
  /** @type {Map<string, number[]>} */
  const found = new Map();
  parts.forEach((part, row) => {
    if (!part.article || part.position === null) whole.push(...cut(parts, [row], part.context, window));
    else if (!found.get(part.article)?.push(row)) found.set(part.article, [row]);
  });
  for (const rows of found.values()) {
    const sorted = rows.toSorted((a, b) => Number(parts[a].position) - Number(parts[b].position));
    whole.push(...cut(parts, sorted, parts[rows[0]].headline, window));
  }
  return whole;
}

/** @param {Part[]} parts @param {number[]} rows @param {string} before @param {number} window @returns {Iterable<Unit>} */
function* cut(parts, rows, before, window) {
  const text = stripped(before);
  const first = text ? [{ text, context: "", target: "", article: "", position: null, headline: "" }] : [];
  for (let start = 0; start < rows.length; start += window) {
    const chosen = rows.slice(start, start + window);
    yield { sentences: [...first, ...chosen.map((row) => parts[row])], rows: [...first.map(() => null), ...chosen] };
  }
}

/** Yield batches of whole units of similar length. @template {Unit & {tokens: Row[]}} T @param {T[]} every */
function* batches(every) {
  /** @type {T[]} */
  let batch = [];
  let count = 0;
  for (const unit of every.toSorted((a, b) => a.rows.length - b.rows.length)) {
    const size = unit.tokens.reduce((sum, row) => sum + row.input_ids.length, 0);
    if (batch.length && count + size > BATCH) {
      yield batch;
      [batch, count] = [[], 0];
    }
    batch.push(unit);
    count += size;
  }
  if (batch.length) yield batch;
}

/**
 * Pack sentences into rows with little padding: first fit, longest first. Each token has its position in its sentence and the number of
 * the sentence.
 *
 * @param {Row[]} sentences
 * @param {{packed_width: number, first_position: number, pad: number}} given what `haltung.json` says of the input
 */
function pack(sentences, { packed_width: least, first_position: first, pad }) {
  const lengths = sentences.map((row) => row.input_ids.length);
  const width = lengths.reduce((most, length) => Math.max(most, length), least);
  /** @type {{sentences: number[], free: number}[]} */
  const lines = [];
  for (const number of [...lengths.keys()].sort((a, b) => lengths[b] - lengths[a])) {
    let line = lines.find(({ free }) => free >= lengths[number]);
    if (!line) lines.push((line = { sentences: [], free: width }));
    line.sentences.push(number);
    line.free -= lengths[number];
  }
  const filled = (/** @type {(number: number) => number[]} */ values, /** @type {number} */ fill) =>
    table(lines.map((line) => line.sentences.flatMap(values)), fill);
  return {
    input_ids: filled((number) => sentences[number].input_ids, pad),
    ...("token_type_ids" in sentences[0] ? { token_type_ids: filled((number) => sentences[number].token_type_ids, 0) } : {}),
    positions: filled((number) => sentences[number].input_ids.map((_, place) => first + place), first),
    sentence: filled((number) => sentences[number].input_ids.map(() => number), -1),
  };
}
