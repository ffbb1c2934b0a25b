/** The field for a room's title. It says what is wrong with a title before it is sent. */

import { pageData, problemText } from "../page_data.js";
import { checkTitle } from "../text_policy.js";

/** @param {HTMLInputElement} field */
export function guardTitle(field) {
  const check = () => {
    const { code } = checkTitle(field.value, pageData.limits);
    // For an empty field, the browser has a sentence of its own.
    field.setCustomValidity(code === null || field.value === "" ? "" : problemText({ code }));
  };
  field.addEventListener("input", check);
  check();
}
