/**
 * The policy for texts that people write. `domain/text.py` of rooms-api describes it, and does the same on the server. One
 * table of examples and one test file of Unicode test both.
 */

const MARKS_MAX = 8;
const RAW_CHARS_PER_BYTE = 2;

const HALF_OF_A_PAIR = /\p{Surrogate}/u;
const LINE_BREAK = /\r\n|[\r\v\f\u0085\u2028\u2029]/g;
const DROPPED = /(?![\t\n])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;
const MARK = String.raw`[\p{M}\p{Default_Ignorable_Code_Point}]`;
const SURPLUS_MARKS = new RegExp(`(${MARK}{${MARKS_MAX}})${MARK}+`, "gu");
const VISIBLE =
  /[^\u{16fe4}\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb\u{13441}\u{13442}\u{1d159}]/u;
const TITLE_SPACE = /[\t\n]+/g;
const DIRECTION_MARK = /[\u061c\u200e\u200f]/g;
const OUTER_SPACE = /^\p{White_Space}+|\p{White_Space}+$/gu;

const ENCODER = new TextEncoder();
/** Old browsers have no segmenter. There only the server counts. */
const SEGMENTER = "Segmenter" in Intl ? new Intl.Segmenter("en", { granularity: "grapheme" }) : null;

/** @typedef {{text: string, code: string | null}} Checked The text as the server would store it, and why it would not. */

/**
 * Check the text of a message.
 *
 * @param {string} raw
 * @param {Wire.Limits} limits
 * @returns {Checked}
 */
export function checkMessage(raw, limits) {
  const { text, code } = check(raw, mended, limits.text_max_chars, limits.text_max_bytes);
  if (code === "too_long") return { text, code: "text_too_long" };
  if (code === null && text.split("\n").length - 1 > limits.text_max_line_breaks) {
    return { text, code: "text_too_many_lines" };
  }
  return { text, code };
}

/**
 * Check the title of a room.
 *
 * @param {string} raw
 * @param {Wire.Limits} limits
 * @returns {Checked}
 */
export function checkTitle(raw, limits) {
  const { text, code } = check(raw, mendedTitle, limits.title_max_chars, limits.title_max_bytes);
  return { text, code: code === "too_long" ? "title_too_long" : code };
}

/**
 * A title, or a part of one, in the form used for searches.
 *
 * @param {string} title
 */
export function foldTitle(title) {
  const text = mendedTitle(title);
  if (!VISIBLE.test(text)) return "";
  return Array.from(text.normalize("NFKC"), foldCase).join("").normalize("NFKC");
}

/**
 * The number of characters as people count them.
 *
 * @param {string} text
 */
export function countCharacters(text) {
  if (SEGMENTER === null) return 0;
  let count = 0;
  for (const _ of SEGMENTER.segment(text)) count += 1;
  return count;
}

/**
 * @param {string} raw
 * @param {(raw: string) => string} mend
 * @param {number} maxChars
 * @param {number} maxBytes
 * @returns {Checked}
 */
function check(raw, mend, maxChars, maxBytes) {
  if (hasMoreCodePoints(raw, maxBytes * RAW_CHARS_PER_BYTE)) return { text: raw, code: "too_long" };
  if (HALF_OF_A_PAIR.test(raw)) return { text: raw, code: "validation_failed" };
  const text = mend(raw);
  if (!VISIBLE.test(text)) return { text, code: "text_empty" };
  if (ENCODER.encode(text).length > maxBytes) return { text, code: "too_long" };
  if (text.length > maxChars && countCharacters(text) > maxChars) return { text, code: "too_long" };
  return { text, code: null };
}

/**
 * @param {string} text
 * @param {number} max
 */
function hasMoreCodePoints(text, max) {
  // `length` counts units of UTF-16. A code point has one or two.
  return text.length > 2 * max || (text.length > max && Array.from(text).length > max);
}

/** @param {string} raw */
function mended(raw) {
  const text = raw.replace(LINE_BREAK, "\n").replace(DROPPED, "").replace(SURPLUS_MARKS, "$1");
  return text.normalize("NFC").replace(SURPLUS_MARKS, "$1");
}

/** @param {string} raw */
function mendedTitle(raw) {
  return mended(raw.replace(DIRECTION_MARK, "")).replace(TITLE_SPACE, " ").replace(OUTER_SPACE, "");
}

/**
 * Full case folding, which JavaScript lacks. One character at a time, because a sigma at the end of a word differs.
 *
 * @param {string} character
 */
function foldCase(character) {
  return character === "ı" ? character : character.toLowerCase().toUpperCase().toLowerCase();
}
