/** Where messages are written: text, a GIF from a file, and what forbids it at the moment. */

import { pageData, problemText, text } from "../page_data.js";

const TYPING_EVERY_MS = 3_000;
const SAID_MS = 6_000;

export class ComposerView {
  #form = document.getElementById("composer");
  #text = document.getElementById("text");
  #file = document.getElementById("gif-file");
  #gifButton = document.getElementById("gif-button");
  #send = document.getElementById("send");
  #note = document.getElementById("composer-note");
  #slowMode = "";
  #muted = "";
  #saidTimer;
  #clock;
  #cancelUnmute = () => {};

  /** `clock`: a `ServerClock`. Handlers: onText(text), onGif(file), onTyping(). */
  constructor({ clock, onText, onGif, onTyping }) {
    this.#clock = clock;
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

  /** Say something beside the field for a moment; then what always stands there. */
  say(words) {
    clearTimeout(this.#saidTimer);
    this.#note.textContent = words || this.#muted || this.#slowMode;
    if (words) this.#saidTimer = setTimeout(() => this.say(""), SAID_MS);
  }

  /** One message in `seconds`; 0: as many as one likes. */
  setSlowMode(seconds) {
    const words = seconds > 0 ? text("slow_mode_hint", { seconds }) : "";
    if (words === this.#slowMode) return;
    this.#slowMode = words;
    this.say("");
  }

  /** The user may not post until `until` by the server's clock (a Date; null: for ever). */
  mute(until, words) {
    this.#muted = words;
    this.#enable(false);
    this.say("");
    this.#cancelUnmute();
    if (until !== null) this.#cancelUnmute = this.#clock.at(until.getTime(), () => this.unmute(""));
  }

  /** The user may write again. */
  unmute(words) {
    this.#cancelUnmute();
    this.#muted = "";
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
