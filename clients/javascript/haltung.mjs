/**
 * The exported classifier for JavaScript: texts in, calibrated probabilities out, in Node and in the browser.
 *
 * It reads a folder written by `haltung export` (specified in docs/bundle.md). The libraries are passed in by `node.mjs` and `browser.mjs`,
 * together with a function that reads files there.
 *
 * @typedef {import("./bundle.mjs").Means} Means the libraries, and how a file of the bundle is read
 * @typedef {import("./segments.mjs").Segment} Segment
 * @typedef {import("./segments.mjs").Part} Part
 * @typedef {import("./inputs.mjs").Batch} Batch
 * @typedef {Record<string, any> & {probabilities: Record<string, Record<string, number>>, abstained?: Record<string, true>}} Prediction
 */

import { articles } from "./articles.mjs";
import { BundleError, described, parsed, read } from "./bundle.mjs";
import { ngrams, rowwise, tokens } from "./inputs.mjs";
import { partsOf, pieces } from "./segments.mjs";

export { BundleError, FORMAT } from "./bundle.mjs";

/** Tolerated difference from golden.jsonl. */
export const LIMIT = 1e-3;

// Minimum probability at which a label of a multi-label task is predicted.
const MULTI_THRESHOLD = 0.5;

/** Functions that make the graph's inputs, by the kind of input that the bundle names. @type {Record<string, import("./inputs.mjs").Input>} */
const INPUTS = { tokens: rowwise(tokens), ngrams: rowwise(ngrams), articles };

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
    const description = await described(means);
    // Formats for other runtimes are not available to this client.
    const has = Object.keys(description.formats).filter((name) => (description.formats[name].runtime ?? "onnxruntime") === "onnxruntime");
    if (!has.includes(format)) {
      const why = description.refused?.[format] ? ` (refused by the export: ${description.refused[format]})` : "";
      throw new BundleError(`the bundle has no format '${format}' for onnxruntime${why}; it has ${has.join(", ")}`);
    }
    const make = INPUTS[description.input.kind];
    if (!make) throw new BundleError(`the bundle expects '${description.input.kind}' as input, which this client can't make; use a newer one`);
    const { input, views, formats } = description;
    const [batches, graph] = await Promise.all([make(means, input, views), read(means, formats[format].file)]);
    const session = await means.runtime.InferenceSession.create(graph, { logSeverityLevel: 3, ...means.session });
    return new Classifier(means, description, batches, session, format);
  }

  /**
   * @param {Means} means
   * @param {any} description what `haltung.json` says
   * @param {(parts: Part[]) => Iterable<Batch>} batches what makes the graph's inputs
   * @param {any} session
   * @param {string} format of the graph
   */
  constructor(means, description, batches, session, format) {
    this.description = description;
    this.format = format;
    /** @type {"tokens" | "ngrams" | "articles"} what the graph reads */
    this.kind = description.input.kind;
    /** @type {string[]} what the passes of the encoder read */
    this.views = description.views;
    /** @type {Record<string, string[]>} the labels of each task, in the order of the graph's outputs */
    this.tasks = description.outputs ?? mapped(description.scheme.tasks, (task) => Object.keys(task.labels));
    this.means = means;
    this.batches = batches;
    this.session = session;
  }

  /**
   * Return each task's calibrated probabilities, one row per segment, in order.
   *
   * @param {Segment[]} segments
   * @returns {Promise<Record<string, Float32Array[]>>}
   */
  async probabilities(segments) {
    const parts = partsOf(segments, this.kind === "articles");
    const empty = parts.findIndex((part) => !pieces(part.text).length);
    if (empty >= 0) throw new BundleError(`the text of row ${empty + 1} is empty; leave it out`);
    return this.#run(parts);
  }

  /**
   * Return a prediction per segment, in the format of `POST /classify`.
   *
   * @param {Segment[]} segments texts, or objects with `text` and optionally `context`, `target` and `id`; bundles that read whole
   *   articles also take `article`, `position` and `headline`
   * @param {{abstain?: number}} [options] the desired precision; `abstained` then names the tasks whose label is not certain enough
   * @returns {Promise<Prediction[]>}
   */
  async classify(segments, { abstain } = {}) {
    if (abstain !== undefined) this.thresholds(abstain); // report a wrong value before computing
    const found = await this.probabilities(segments);
    return segments.map((segment, row) => this.#prediction(segment, found, row, abstain));
  }

  /**
   * Return, for each single-label task, the minimum top probability that reaches a precision; null if none does.
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
   * @returns {Promise<{inputs: number, largest: number, differing: number, agrees: boolean}>} the largest difference from a probability of
   *   the trained model, and the number of labels that differ
   */
  async verify() {
    const lines = new TextDecoder().decode(await read(this.means, "golden.jsonl")).split("\n");
    const rows = lines.flatMap((line, place) => (line.trim() ? [parsed(line, `line ${place + 1} of golden.jsonl of the bundle`)] : []));
    if (!rows.length) throw new BundleError("golden.jsonl of the bundle is empty; export the bundle again");
    const found = await this.#run(partsOf(rows, this.kind === "articles"));
    let largest = 0;
    let differing = 0;
    rows.forEach((row, place) => {
      const said = this.#prediction(row, found, place);
      for (const task of Object.keys(this.tasks)) {
        differing += Number(JSON.stringify(said[task]) !== JSON.stringify(row.labels[task]));
        for (const [label, value] of Object.entries(row.probabilities[task])) {
          largest = Math.max(largest, Math.abs(said.probabilities[task][label] - Number(value))); // NaN if either is
        }
      }
    });
    return { inputs: rows.length, largest, differing, agrees: largest <= LIMIT };
  }

  /** @param {Part[]} parts */
  async #run(parts) {
    const { Tensor } = this.means.runtime;
    /** @type {Record<string, Float32Array[]>} */
    const out = mapped(this.tasks, () => new Array(parts.length));
    for (const { rows, feeds } of this.batches(parts)) {
      const tensors = mapped(feeds, ({ type, data, dims }) => new Tensor(type, data, dims));
      const answers = await this.session.run(tensors, Object.keys(this.tasks));
      for (const [task, labels] of Object.entries(this.tasks)) {
        rows.forEach((row, place) => {
          if (row !== null) out[task][row] = answers[task].data.slice(place * labels.length, (place + 1) * labels.length);
        });
      }
    }
    return out;
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
 * @template From, To
 * @param {Record<string, From>} given
 * @param {(value: From, key: string) => To} change
 * @returns {Record<string, To>}
 */
const mapped = (given, change) => Object.fromEntries(Object.entries(given).map(([key, value]) => [key, change(value, key)]));
