/**
 * The data of a page for its scripts: limits, the user, and the room or rooms. The texts come from a separate file, which
 * browsers cache.
 */

import { fillIn } from "./fill_in.js";

/** @type {Wire.PageData} */
export const pageData = JSON.parse(document.getElementById("page-data")?.textContent ?? "");

/** @type {Wire.Catalogue} */
const catalogue = await (await fetch(pageData.texts_url)).json();

/**
 * The text of `key`, with `values` filled in.
 *
 * @param {string} key
 * @param {Record<string, any>} values
 */
export function text(key, values = {}) {
  const pattern = catalogue.texts[key];
  if (pattern === undefined) throw new RangeError(`There is no text ${key}.`);
  return fillIn(pattern, values, pageData.language);
}

/**
 * The sentence for a problem in the page's language.
 *
 * @param {Page.Problem} problem
 */
export function problemText({ code, message }) {
  const known = catalogue.errors[code];
  if (known !== undefined) return known;
  return code in catalogue.texts ? text(code) : message || catalogue.errors.internal || "";
}

const TIME = new Intl.DateTimeFormat(pageData.language, { timeStyle: "short" });
const DAY_AND_TIME = new Intl.DateTimeFormat(pageData.language, { dateStyle: "medium", timeStyle: "short" });

/**
 * The time of day of a timestamp, with the date if it is not today.
 *
 * @param {string} iso
 */
export function moment(iso) {
  const date = new Date(iso);
  return (date.toDateString() === new Date().toDateString() ? TIME : DAY_AND_TIME).format(date);
}
