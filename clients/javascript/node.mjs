/** The classifier in Node: onnxruntime-node, files from the disk. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";

import { Classifier } from "./haltung.mjs";

export { BundleError, Classifier } from "./haltung.mjs";

/**
 * Read a bundle.
 *
 * @param {string} folder written by `haltung export`
 * @param {{format?: string, threads?: number}} [options] of the graph: by default fp32, and one thread per core
 */
export async function load(folder, { format = "fp32", threads } = {}) {
  // The library reads this when it is loaded; without it, it reports its use to Microsoft.
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
  const runtime = await import("onnxruntime-node");
  const session = threads === undefined ? {} : { intraOpNumThreads: threads };
  return Classifier.load({ read: (name) => readFile(join(folder, name)), runtime, Tokenizer, session }, format);
}
