/** The classifier in a page: onnxruntime-web (WebAssembly), files over HTTP. */

import { Tokenizer } from "@huggingface/tokenizers";
import * as runtime from "onnxruntime-web/wasm";

import { Classifier } from "./haltung.mjs";

export { BundleError, Classifier } from "./haltung.mjs";

/**
 * Read a bundle.
 *
 * @param {string | URL} folder the address of the bundle
 * @param {{format?: string, wasm?: string | URL}} [options] the graph's format (by default fp16, half the size, if the bundle has it,
 *   else fp32), and the address of onnxruntime-web's `dist/`, ending with a slash, unless a bundler resolves it
 */
export async function load(folder, { format, wasm } = {}) {
  if (wasm !== undefined) runtime.env.wasm.wasmPaths = new URL(wasm, document.baseURI).href;
  const base = new URL(`${folder}`.replace(/\/*$/, "/"), document.baseURI);
  const read = async (/** @type {string} */ name) => {
    const answer = await fetch(new URL(name, base));
    if (!answer.ok) throw new Error(`${answer.url}: ${answer.status} ${answer.statusText}`);
    return new Uint8Array(await answer.arrayBuffer());
  };
  const chosen = format ?? ("fp16" in (await formats(read)) ? "fp16" : "fp32");
  return Classifier.load({ read, runtime, Tokenizer }, chosen);
}

/** Return the formats of the bundle; none if it can't be read, which `load` then reports. @param {(name: string) => Promise<Uint8Array>} read */
async function formats(read) {
  try {
    return JSON.parse(new TextDecoder().decode(await read("haltung.json"))).formats ?? {};
  } catch {
    return {};
  }
}
