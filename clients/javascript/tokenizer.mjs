/**
 * Rewrites a `tokenizer.json` so that the JavaScript library `@huggingface/tokenizers` gives the same tokens as the Rust library.
 *
 * The two differ as follows (version 0.2.0 and Rust's 0.23); each case is replaced by an equivalent that both handle alike:
 *
 * - `Nmt` is unknown to the JavaScript library: it becomes the two replacements that it consists of.
 * - `Strip` uses JavaScript's white space (with U+FEFF, without U+0085), Rust uses Unicode's: it becomes a replacement.
 * - `Metaspace` does not split a text into words there: a split before each `▁` is added, which also makes long texts several times faster.
 * - `BertPreTokenizer` uses JavaScript's white space too: it becomes a split at Unicode's white space and one around each punctuation mark.
 * - `BertNormalizer` handles only characters up to U+FFFF and lowercases a final Σ differently: it becomes replacements.
 *
 * What remains different: recent Unicode characters, which the engine may know but not the Rust library. For `NFKC` there are 61 since
 * version 14; `BertPreTokenizer` knows the punctuation of version 8 only, so it treats later signs of rare scripts as letters.
 */

const WHITE = "\\p{White_Space}";
const CHINESE = "\\u4E00-\\u9FFF\\u3400-\\u4DBF\\u{20000}-\\u{2A6DF}\\u{2A700}-\\u{2B73F}\\u{2B740}-\\u{2B81F}\\u{2B820}-\\u{2CEAF}\\uF900-\\uFAFF\\u{2F800}-\\u{2FA1F}";

/** @param {string} regex @param {string} content */
const replace = (regex, content) => ({ type: "Replace", pattern: { Regex: regex }, content });

/** @param {string} regex @param {"Removed" | "Isolated"} behavior */
const cut = (regex, behavior) => ({ type: "Split", pattern: { Regex: regex }, behavior, invert: false });

/** @param {any[]} normalizers */
const sequence = (normalizers) => ({ type: "Sequence", normalizers });

/** Replacements of normalizers by type. @type {Record<string, (given: any) => any>} */
const NORMALIZERS = {
  Sequence: (given) => sequence(given.normalizers.map(normalizer)),
  Nmt: () =>
    sequence([
      replace("[\\x01-\\x08\\x0B\\x0E-\\x1F\\x7F\\x8F\\x9F]", ""),
      replace("[\\t\\n\\f\\r\\u1680\\u200B-\\u200F\\u2028\\u2029\\u2581\\uFEFF\\uFFFD]", " "),
    ]),
  // `^` and `$` would match at lines; each run of spaces is scanned only once, however long it is.
  Strip: (given) =>
    sequence([
      ...(given.strip_left ? [replace(`(?<![\\s\\S])${WHITE}+`, "")] : []),
      ...(given.strip_right ? [replace(`(?<!${WHITE})${WHITE}+(?![\\s\\S])`, "")] : []),
    ]),
  BertNormalizer: (given) =>
    sequence([
      ...(given.clean_text
        ? [replace("[\\x00\\uFFFD]|(?![\\t\\n\\r])[\\p{Cc}\\p{Cf}\\p{Co}\\p{Cn}]", ""), replace(WHITE, " ")]
        : []),
      ...(given.handle_chinese_chars ? [replace(`[${CHINESE}]`, " $& ")] : []),
      ...((given.strip_accents ?? given.lowercase) ? [{ type: "NFD" }, replace("\\p{Mn}", "")] : []),
      ...(given.lowercase ? [{ type: "Lowercase" }] : []),
    ]),
};

/** Replacements of pre-tokenizers by type. @type {Record<string, (given: any) => any>} */
const PRE_TOKENIZERS = {
  Sequence: (given) => ({ ...given, pretokenizers: given.pretokenizers.map(preTokenizer) }),
  Metaspace: (given) =>
    given.split === false ? given : { type: "Sequence", pretokenizers: [given, cut(`${given.replacement}[^${given.replacement}]*`, "Isolated")] },
  BertPreTokenizer: () => ({
    type: "Sequence",
    pretokenizers: [cut(`${WHITE}+`, "Removed"), cut("[\\p{P}!-\\/:-@\\[-`\\{-~]", "Isolated")],
  }),
};

/** @param {any} given */
const normalizer = (given) => NORMALIZERS[given?.type]?.(given) ?? given;

/** @param {any} given */
const preTokenizer = (given) => PRE_TOKENIZERS[given?.type]?.(given) ?? given;

/**
 * Build the library's tokenizer from a parsed `tokenizer.json`.
 *
 * @param {any} Tokenizer the class of `@huggingface/tokenizers`
 * @param {any} given the parsed file
 * @returns {(text: string) => number[]} returns the ids of a text, without special tokens
 */
export function tokenizer(Tokenizer, given) {
  const library = new Tokenizer({ ...given, normalizer: normalizer(given.normalizer), pre_tokenizer: preTokenizer(given.pre_tokenizer) }, {});
  if (given.model.type === "Unigram") {
    // The library's own loops need minutes for a megabyte of unknown characters, and fail at a word of 200,000 letters.
    const { model } = library;
    const unknown = (/** @type {string} */ piece) => (model.tokens_to_ids.get(piece) ?? model.unk_token_id) === model.unk_token_id;
    model.fuse_unk = false;
    model.encode = (/** @type {string[]} */ words) =>
      words.flatMap((word) => {
        const pieces = model.tokenize(word);
        return pieces.filter((/** @type {string} */ piece, /** @type {number} */ place) => !(place && unknown(piece) && unknown(pieces[place - 1])));
      });
  }
  return (text) => library.encode(text, { add_special_tokens: false }).ids;
}
