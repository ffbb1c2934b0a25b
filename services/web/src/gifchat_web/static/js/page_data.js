/** What the server put into the page for its scripts: texts, limits, the user, and what the page is about. */

export const pageData = JSON.parse(document.getElementById("page-data").textContent);

/** The text of `key`, with `{name}` filled in. */
export function text(key, values = {}) {
  return pageData.texts[key].replace(/\{(\w+)\}/g, (_whole, name) => String(values[name]));
}

/** The sentence for a problem {code, message} in the page's language. */
export function problemText({ code, message }) {
  return pageData.errors[code] ?? pageData.texts[code] ?? (message || pageData.errors.internal);
}

const TIME = new Intl.DateTimeFormat(pageData.language, { timeStyle: "short" });
const DAY_AND_TIME = new Intl.DateTimeFormat(pageData.language, { dateStyle: "medium", timeStyle: "short" });

/** The time of an ISO timestamp, with the day where it is not today. */
export function moment(iso) {
  const date = new Date(iso);
  return (date.toDateString() === new Date().toDateString() ? TIME : DAY_AND_TIME).format(date);
}
