/**
 * The files of a bundle, and the errors if one is wrong.
 *
 * @typedef {{read: (name: string) => Promise<Uint8Array>, runtime: any, Tokenizer: any, session?: object}} Means
 */

/** The version of the bundle format that this client reads. */
export const FORMAT = 1;

/** An error that the caller can fix: its message is one sentence with what was found and what to do. */
export class BundleError extends Error {
  name = "BundleError";
}

/** Return the content of `haltung.json`. @param {Means} means */
export async function described(means) {
  const description = await readJson(means, "haltung.json");
  if (description?.format !== FORMAT) {
    throw new BundleError(`the bundle is of format ${description?.format}, this client reads ${FORMAT}; take the client of the version that wrote it`);
  }
  if (!description.input || !description.formats) {
    throw new BundleError("this is a trained model that was not exported; write a bundle of it with `haltung export`");
  }
  return description;
}

/** @param {Means} means @param {string} name */
export async function read(means, name) {
  try {
    return await means.read(name);
  } catch (error) {
    throw new BundleError(`${name} of the bundle can't be read (${error instanceof Error ? error.message : error}); name an exported bundle`);
  }
}

/** @param {Means} means @param {string} name */
export async function readJson(means, name) {
  return parsed(new TextDecoder().decode(await read(means, name)), `${name} of the bundle`);
}

/** @param {string} text @param {string} what */
export function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new BundleError(`${what} is broken (${error instanceof Error ? error.message : error}); copy or export it again`);
  }
}
