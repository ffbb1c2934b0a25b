/** What the server put into the page for its scripts: texts, limits, the user, and what the page is about. */

/** @type {Wire.PageData} */
export const pageData = JSON.parse(document.getElementById("page-data")?.textContent ?? "");

/**
 * The text of `key`, with `{name}` filled in.
 *
 * @param {string} key
 * @param {Record<string, any>} values
 */
export function text(key, values = {}) {
  const pattern = pageData.texts[key];
  if (pattern === undefined) throw new RangeError(`There is no text ${key}.`);
  return pattern.replace(/\{(\w+)\}/g, (_whole, name) => String(values[name]));
}

/**
 * The sentence for a problem in the page's language.
 *
 * @param {Page.Problem} problem
 */
export function problemText({ code, message }) {
  return pageData.errors[code] ?? pageData.texts[code] ?? (message || pageData.errors.internal || "");
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
