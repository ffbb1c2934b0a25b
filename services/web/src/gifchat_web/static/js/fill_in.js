/**
 * Fills in a text of the pages. `domain/fill_in.py` describes the texts, and does the same for the server's templates.
 */

import { particle } from "./particles.js";

/**
 * The text in `language`, with `values` in it.
 *
 * @param {Wire.Text} text
 * @param {Record<string, any>} values
 * @param {string} language
 */
export function fillIn(text, values, language) {
  const pattern = typeof text === "string" ? text : text[new Intl.PluralRules(language).select(values.count)];
  if (pattern === undefined) throw new RangeError(`There is no plural form for ${values.count}.`);
  let filled = "";
  let at = 0;
  for (const { 0: field, 1: name = "", index } of pattern.matchAll(/\{([^{}]+)\}/g)) {
    filled += pattern.slice(at, index);
    filled += name.includes("/") ? particle(filled, name) : String(values[name]);
    at = index + field.length;
  }
  return filled + pattern.slice(at);
}
