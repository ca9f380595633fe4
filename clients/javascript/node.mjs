/** The classifier in Node: onnxruntime-node, files from the disk. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";

import { Classifier } from "./haltung.mjs";

export { BundleError, Classifier } from "./haltung.mjs";

/**
 * Read a bundle.
 *
 * @param {string} folder that `haltung export` has written
 * @param {{format?: string, threads?: number}} [options] of the graph: fp32 by default, and as many threads as there are cores
 */
export async function load(folder, { format = "fp32", threads } = {}) {
  // Read when the library is loaded, which otherwise reports its use to Microsoft.
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
  const runtime = await import("onnxruntime-node");
  const session = threads === undefined ? {} : { intraOpNumThreads: threads };
  return Classifier.load({ read: (name) => readFile(join(folder, name)), runtime, Tokenizer, session }, format);
}
