/** Where messages are written: text, a GIF from a file, and what forbids it at the moment. */

import { pageData, problemText, text } from "../page_data.js";

const TYPING_EVERY_MS = 3_000;

export class ComposerView {
  #form = document.getElementById("composer");
  #text = document.getElementById("text");
  #file = document.getElementById("gif-file");
  #gifButton = document.getElementById("gif-button");
  #send = document.getElementById("send");
  #note = document.getElementById("composer-note");
  #hint = "";
  #mutedUntil = null;
  #mutedTimer;

  /** Handlers: onText(text), onGif(file), onTyping(). */
  constructor({ onText, onGif, onTyping }) {
    let typedAt = 0;
    const submit = () => {
      const words = this.#text.value.trim();
      if (words === "" || this.#send.disabled) return;
      onText(words);
      this.#text.value = "";
      typedAt = 0;
      this.#fit();
      this.#text.focus();
    };
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While a Korean syllable is being composed, Enter belongs to the input method.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      submit();
    });
    this.#text.addEventListener("input", () => {
      this.#fit();
      const now = Date.now();
      if (this.#text.value !== "" && now - typedAt >= TYPING_EVERY_MS) {
        typedAt = now;
        onTyping();
      }
    });
    this.#gifButton.addEventListener("click", () => this.#file.click());
    this.#file.addEventListener("change", () => {
      const [file] = this.#file.files;
      this.#file.value = "";
      if (file === undefined) return;
      if (file.size > pageData.limits.gif_max_bytes) this.say(problemText({ code: "gif_too_large" }));
      else onGif(file);
    });
  }

  /** Say something beside the field, until the next thing is said. */
  say(words) {
    this.#note.textContent = words || this.#hint;
  }

  /** What always stands there: slow mode. */
  setSlowMode(seconds) {
    const hint = seconds > 0 ? text("slow_mode_hint", { seconds }) : "";
    if (hint === this.#hint) return;
    this.#hint = hint;
    if (this.#mutedUntil === null) this.say("");
  }

  /** The user may not write until `until` (a Date; null: for ever). */
  mute(until, words) {
    this.#mutedUntil = until ?? Infinity;
    this.#enable(false);
    this.say(words);
    clearTimeout(this.#mutedTimer);
    if (until !== null) {
      const longest = 2 ** 31 - 1;
      this.#mutedTimer = setTimeout(() => this.unmute(""), Math.min(longest, Math.max(0, until - Date.now())));
    }
  }

  /** The user may write again. */
  unmute(words) {
    clearTimeout(this.#mutedTimer);
    this.#mutedUntil = null;
    this.#enable(true);
    this.say(words);
  }

  /** The room is over for this user. */
  close() {
    this.#form.hidden = true;
    this.#note.hidden = true;
  }

  focus() {
    this.#text.focus();
  }

  #enable(enabled) {
    for (const control of [this.#text, this.#gifButton, this.#send]) control.disabled = !enabled;
  }

  /** As high as its text, within the bounds of the style sheet. */
  #fit() {
    this.#text.style.setProperty("height", "auto");
    this.#text.style.setProperty("height", `${this.#text.scrollHeight + 2}px`);
  }
}
