/**
 * Chooses Korean particles by the last sound of the word before them. `domain/particles.py` does the same for the
 * server's templates. One table of examples tests both.
 */

const READABLE = /[\p{L}\p{N}%]/gu;
const FIRST_SYLLABLE = 0xac00;
const LAST_SYLLABLE = 0xd7a3;
const FINALS = 28;
const FINAL_RIEUL = 8;
const CONSONANT_LETTER = /^[ㄱ-ㅎ]$/;
const READ_WITH_RIEUL = "lr178";
const READ_WITH_OTHER_CONSONANT = "mn036";

/**
 * The half of `pair` that fits the text `before` it. `pair` is `<after a consonant>/<after a vowel>`, such as "을/를".
 *
 * @param {string} before
 * @param {string} pair
 */
export function particle(before, pair) {
  const [afterConsonant = "", afterVowel = ""] = pair.split("/");
  const final = finalSound(before);
  return final === "" || (final === "ㄹ" && afterConsonant.startsWith("으로")) ? afterVowel : afterConsonant;
}

/**
 * The final consonant: "ㄹ", "-" for any other, "" for none.
 *
 * @param {string} text
 */
function finalSound(text) {
  const last = text.normalize("NFC").match(READABLE)?.at(-1) ?? "";
  const code = last.charCodeAt(0);
  if (code >= FIRST_SYLLABLE && code <= LAST_SYLLABLE) {
    const final = (code - FIRST_SYLLABLE) % FINALS;
    if (final === 0) return "";
    return final === FINAL_RIEUL ? "ㄹ" : "-";
  }
  if (CONSONANT_LETTER.test(last)) return last === "ㄹ" ? "ㄹ" : "-";
  const name = last.normalize("NFKC").toLowerCase();
  if (name === "") return "";
  if (READ_WITH_RIEUL.includes(name)) return "ㄹ";
  return READ_WITH_OTHER_CONSONANT.includes(name) ? "-" : "";
}
