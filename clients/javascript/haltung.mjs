/**
 * The exported classifier for JavaScript: texts in, calibrated probabilities out, in Node and in the browser.
 *
 * It reads the folder that `haltung export` has written (its contract is docs/bundle.md). The libraries are passed in: `node.mjs` and
 * `browser.mjs` do that, and know how files are read there.
 *
 * @typedef {string | {text: string, context?: string | null, target?: string | null, id?: unknown}} Segment
 * @typedef {{text: string, context: string, target: string}} Part
 * @typedef {Record<string, number[]>} Row what the graph reads of one segment in one view: its inputs by name, all of one length
 * @typedef {{read: (name: string) => Promise<Uint8Array>, runtime: any, Tokenizer: any, session?: object}} Means
 * @typedef {Record<string, any> & {probabilities: Record<string, Record<string, number>>, abstained?: Record<string, true>}} Prediction
 */

import { tokenizer } from "./tokenizer.mjs";

/** The format of a bundle that this file reads. */
export const FORMAT = 1;

/** A client has to agree with golden.jsonl within this. */
export const LIMIT = 1e-3;

// So many tokens, padding included, go through the graph at once.
const BATCH = 4096;

// Fewer tokens of context than this say nothing.
const LEAST_PAIR = 4;

// A label of a multi-label task is predicted from this probability on.
const MULTI_THRESHOLD = 0.5;

// What Python's str.strip takes away, which training has asked whether a text is blank; JavaScript's trim differs in U+0085 and U+FEFF.
const BLANKS = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

/** The words of a text, as Python's str.split finds them; a blank text has none. @param {string} text */
const pieces = (text) => text.split(BLANKS).filter((piece) => piece);

/** A mistake that the caller can mend: its message is one sentence that says what was found and what to do. */
export class BundleError extends Error {
  name = "BundleError";
}

/** An exported bundle, ready to label. */
export class Classifier {
  /**
   * Read the bundle.
   *
   * @param {Means} means the libraries, and how a file of the bundle is read
   * @param {string} [format] of the graph, as in the bundle's `formats`
   * @returns {Promise<Classifier>}
   */
  static async load(means, format = "fp32") {
    const description = described(await readJson(means, "haltung.json"));
    // What is meant for another runtime is no format for this client.
    const has = Object.keys(description.formats).filter((name) => (description.formats[name].runtime ?? "onnxruntime") === "onnxruntime");
    if (!has.includes(format)) {
      const why = description.refused?.[format] ? ` (refused at the export: ${description.refused[format]})` : "";
      throw new BundleError(`the bundle has no format '${format}' for onnxruntime${why}; it has ${has.join(", ")}`);
    }
    const make = INPUTS[description.input.kind];
    if (!make) throw new BundleError(`the bundle wants '${description.input.kind}' as input, which this client can't make; take a newer one`);
    const [input, graph] = await Promise.all([make(means, description.input), read(means, description.formats[format].file)]);
    const session = await means.runtime.InferenceSession.create(graph, { logSeverityLevel: 3, ...means.session });
    return new Classifier(means, description, input, session, format);
  }

  /**
   * @param {Means} means
   * @param {any} description what `haltung.json` says
   * @param {(view: string, part: Part) => Row} input what makes a row of a segment
   * @param {any} session
   * @param {string} format of the graph
   */
  constructor(means, description, input, session, format) {
    this.description = description;
    this.format = format;
    /** @type {"tokens" | "ngrams"} what the graph reads */
    this.kind = description.input.kind;
    /** @type {string[]} what the passes of the encoder read */
    this.views = description.views;
    /** @type {Record<string, string[]>} the labels of each task, in the order of the graph's outputs */
    this.tasks = description.outputs ?? mapped(description.scheme.tasks, (task) => Object.keys(task.labels));
    this.means = means;
    this.input = input;
    this.session = session;
  }

  /**
   * Each task's calibrated probabilities, a row for each segment, in order.
   *
   * @param {Segment[]} segments
   * @returns {Promise<Record<string, Float32Array[]>>}
   */
  async probabilities(segments) {
    const parts = partsOf(segments);
    const empty = parts.findIndex((part) => !pieces(part.text).length);
    if (empty >= 0) throw new BundleError(`the text of row ${empty + 1} is empty; leave it out`);
    return this.#run(parts);
  }

  /**
   * A prediction for each segment, as `POST /classify` answers it.
   *
   * @param {Segment[]} segments texts, or objects with `text` and perhaps `context`, `target` and `id`
   * @param {{abstain?: number}} [options] a precision wished for; `abstained` then names the tasks that are not sure enough of their label
   * @returns {Promise<Prediction[]>}
   */
  async classify(segments, { abstain } = {}) {
    if (abstain !== undefined) this.thresholds(abstain); // so that a wrong one is told before the work
    const found = await this.probabilities(segments);
    return segments.map((segment, row) => this.#prediction(segment, found, row, abstain));
  }

  /**
   * The least highest probability with which each single-label task reaches a precision; null where it never does.
   *
   * @param {number} precision
   * @returns {Record<string, number | null>}
   */
  thresholds(precision) {
    const has = new Set();
    /** @type {Record<string, number | null>} */
    const chosen = {};
    for (const [task, values] of Object.entries(this.description.calibration?.thresholds ?? {})) {
      for (const [wished, least] of Object.entries(values)) {
        if (least !== null) has.add(Number(wished));
        if (Number(wished) === precision) chosen[task] = least;
      }
    }
    if (Object.values(chosen).some((least) => least !== null)) return chosen;
    const allowed = has.size ? `it has those for ${[...has].sort((a, b) => a - b).join(", ")}` : "it has none at all, so it can't abstain";
    throw new BundleError(`the bundle has no thresholds for the precision ${precision}; ${allowed}`);
  }

  /**
   * Replay `golden.jsonl`.
   *
   * @returns {Promise<{inputs: number, largest: number, differing: number, agrees: boolean}>} the largest difference of a probability from
   *   that of the trained model, and how many labels differ
   */
  async verify() {
    const lines = new TextDecoder().decode(await read(this.means, "golden.jsonl")).split("\n");
    const rows = lines.filter((line) => line.trim()).map((line) => JSON.parse(line));
    const found = await this.#run(partsOf(rows));
    let largest = 0;
    let differing = 0;
    rows.forEach((row, place) => {
      const said = this.#prediction(row, found, place);
      for (const task of Object.keys(this.tasks)) {
        differing += Number(JSON.stringify(said[task]) !== JSON.stringify(row.labels[task]));
        for (const [label, value] of Object.entries(row.probabilities[task])) {
          const difference = Math.abs(said.probabilities[task][label] - Number(value));
          largest = difference <= largest ? largest : difference; // a NaN is a difference too
        }
      }
    });
    return { inputs: rows.length, largest, differing, agrees: largest <= LIMIT };
  }

  /** @param {Part[]} parts */
  async #run(parts) {
    const rows = parts.map((part) => Object.fromEntries(this.views.map((view) => [view, this.input(view, part)])));
    const lengths = rows.map((row) => this.views.reduce((sum, view) => sum + length(row[view]), 0));
    /** @type {Record<string, Float32Array[]>} */
    const out = mapped(this.tasks, () => new Array(parts.length));
    for (const places of batches(lengths)) {
      const answers = await this.session.run(this.#feeds(places.map((place) => rows[place])));
      for (const [task, labels] of Object.entries(this.tasks)) {
        places.forEach((place, row) => (out[task][place] = answers[task].data.slice(row * labels.length, (row + 1) * labels.length)));
      }
    }
    return out;
  }

  /** The graph's inputs, padded to the longest row. @param {Record<string, Row>[]} rows for each segment a row for each view */
  #feeds(rows) {
    const { Tensor } = this.means.runtime;
    /** @type {Record<string, any>} */
    const feeds = {};
    for (const view of this.views) {
      const width = Math.max(1, ...rows.map((row) => length(row[view])));
      for (const name of Object.keys(rows[0][view])) {
        const [type, data] =
          name === "counts" ? ["float32", new Float32Array(rows.length * width)] : ["int64", new BigInt64Array(rows.length * width)];
        if (name === "input_ids") data.fill(BigInt(this.description.input.pad));
        rows.forEach((row, place) => data.set(data instanceof Float32Array ? row[view][name] : row[view][name].map(BigInt), place * width));
        feeds[this.views.length > 1 ? `${view}.${name}` : name] = new Tensor(type, data, [rows.length, width]);
      }
    }
    return feeds;
  }

  /**
   * @param {Segment} segment
   * @param {Record<string, Float32Array[]>} found
   * @param {number} row
   * @param {number} [abstain]
   * @returns {Prediction}
   */
  #prediction(segment, found, row, abstain) {
    const id = typeof segment === "string" ? undefined : segment.id;
    /** @type {Record<string, any>} */
    const prediction = id === undefined || id === null ? {} : { id };
    const probabilities = mapped(this.tasks, (labels, task) => Object.fromEntries(labels.map((label, place) => [label, found[task][row][place]])));
    for (const [task, labels] of Object.entries(this.tasks)) {
      const values = found[task][row];
      const several = this.description.scheme.tasks[task].kind === "multi";
      prediction[task] = several ? labels.filter((_, place) => values[place] >= MULTI_THRESHOLD) : labels[values.indexOf(Math.max(...values))];
    }
    if (abstain === undefined) return { ...prediction, probabilities };
    const unsure = Object.entries(this.thresholds(abstain)).filter(([task, least]) => least === null || Math.max(...found[task][row]) < least);
    return { ...prediction, probabilities, abstained: Object.fromEntries(unsure.map(([task]) => [task, true])) };
  }
}

/**
 * From texts to token ids, as the encoder was trained: see docs/bundle.md, "From a text to ids".
 *
 * @param {Means} means
 * @param {any} given what `haltung.json` says of the input
 * @returns {Promise<(view: string, part: Part) => Row>}
 */
async function tokens(means, given) {
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
    // A text that fills the input by itself is read without its context: a few scraps of it would cost the text its end.
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
 * From texts to the numbers of n-grams, as scikit-learn's vectorizers cut them: see docs/bundle.md, "From a text to n-grams".
 *
 * @param {Means} means
 * @param {any} given what `haltung.json` says of the input
 * @returns {Promise<(view: string, part: Part) => Row>}
 */
async function ngrams(means, given) {
  const lists = await readJson(means, given.vocabulary);
  const parts = mapped(given.parts, (/** @type {any[]} */ has, view) =>
    has.map((part) => ({
      ...part,
      numbers: new Map(lists[view][part.name].map((/** @type {string} */ ngram, /** @type {number} */ place) => [ngram, part.first + place])),
    })),
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

/** What makes the rows, by the kind of input that the bundle names. @type {Record<string, (means: Means, given: any) => Promise<any>>} */
const INPUTS = { tokens, ngrams };

/** @param {Row} row */
const length = (row) => Object.values(row)[0].length;

/** @param {any} description */
function described(description) {
  if (description?.format !== FORMAT) {
    throw new BundleError(`the bundle is of format ${description?.format}, this client reads ${FORMAT}; take the client of the version that wrote it`);
  }
  if (!description.input || !description.formats) {
    throw new BundleError("this is a trained model that was not exported; write a bundle of it with `haltung export`");
  }
  return description;
}

/** Text, context and target of each segment, with U+FFFD for each half of a character. @param {Segment[]} segments @returns {Part[]} */
function partsOf(segments) {
  if (!Array.isArray(segments)) throw new BundleError("one segment was given where a list of them is expected; put it into brackets");
  return segments.map((segment, row) => {
    const given = typeof segment === "string" ? { text: segment } : segment;
    if (typeof given !== "object" || (given?.text ?? null) === null) {
      throw new BundleError(`row ${row + 1} is neither a text nor an object with a 'text'`);
    }
    const part = (/** @type {"text" | "context" | "target"} */ name) => {
      const value = given[name] ?? "";
      if (typeof value !== "string") throw new BundleError(`the ${name} of row ${row + 1} is no text but ${typeof value}`);
      return value.replace(/\p{Surrogate}/gu, "\ufffd");
    };
    return { text: part("text"), context: part("context"), target: part("target") };
  });
}

/** The rows in batches of like length, the longest first, so that padding costs little. @param {number[]} lengths */
function* batches(lengths) {
  const rows = [...lengths.keys()].sort((a, b) => lengths[b] - lengths[a]);
  while (rows.length) yield rows.splice(0, Math.max(1, Math.floor(BATCH / Math.max(1, lengths[rows[0]]))));
}

/**
 * @template From, To
 * @param {Record<string, From>} given
 * @param {(value: From, key: string) => To} change
 * @returns {Record<string, To>}
 */
const mapped = (given, change) => Object.fromEntries(Object.entries(given).map(([key, value]) => [key, change(value, key)]));

/** @param {Means} means @param {string} name */
async function read(means, name) {
  try {
    return await means.read(name);
  } catch (error) {
    throw new BundleError(`${name} of the bundle can't be read (${error instanceof Error ? error.message : error}); name an exported bundle`);
  }
}

/** @param {Means} means @param {string} name */
async function readJson(means, name) {
  const text = new TextDecoder().decode(await read(means, name));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BundleError(`${name} of the bundle is broken (${error instanceof Error ? error.message : error}); copy or export it again`);
  }
}
