/**
 * Validation of segments: texts and their surroundings.
 *
 * @typedef {string | {text: string, context?: string | null, target?: string | null, id?: unknown, article?: string | null,
 *   position?: number | null, headline?: string | null}} Segment
 * @typedef {{text: string, context: string, target: string, article: string, position: number | null, headline: string}} Part
 */

import { BundleError } from "./bundle.mjs";

// White space of Python's str.strip, by which training decides whether a text is blank; JavaScript's trim differs in U+0085 and U+FEFF.
const BLANKS = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

/** Return the words of a text as Python's str.split does; none for a blank text. @param {string} text */
export const pieces = (text) => text.split(BLANKS).filter((piece) => piece);

/** Return a text without leading and trailing white space, as Python's str.strip does. @param {string} text */
export function stripped(text) {
  const found = pieces(text);
  const last = found.at(-1) ?? "";
  return found.length ? text.slice(text.indexOf(found[0]), text.lastIndexOf(last) + last.length) : "";
}

/**
 * Return the parts of each segment, with U+FFFD for each unpaired surrogate.
 *
 * @param {Segment[]} segments
 * @param {boolean} whole whether its place in an article is used; otherwise it is ignored
 * @returns {Part[]}
 */
export function partsOf(segments, whole) {
  if (!Array.isArray(segments)) throw new BundleError("one segment was given where a list of them is expected; put it into brackets");
  return segments.map((segment, row) => {
    const given = typeof segment === "string" ? { text: segment } : segment;
    if (typeof given !== "object" || (given?.text ?? null) === null) {
      throw new BundleError(`row ${row + 1} is neither a text nor an object with a 'text'`);
    }
    const part = (/** @type {"text" | "context" | "target" | "article" | "headline"} */ name) => {
      const value = given[name] ?? "";
      if (typeof value !== "string") throw new BundleError(`the ${name} of row ${row + 1} is not text but ${typeof value}`);
      return value.replace(/\p{Surrogate}/gu, "\ufffd");
    };
    const position = whole ? (given.position ?? null) : null;
    if (position !== null && !Number.isInteger(position)) {
      throw new BundleError(`the position of row ${row + 1} is not a whole number but ${typeof position === "number" ? position : typeof position}`);
    }
    const [article, headline] = whole ? [part("article"), part("headline")] : ["", ""];
    return { text: part("text"), context: part("context"), target: part("target"), article, position, headline };
  });
}
