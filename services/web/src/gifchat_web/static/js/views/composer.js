/** The composer: writes texts, picks GIF files, and shows why the user cannot post at the moment. */

import { pageData, problemText, text } from "../page_data.js";
import { checkMessage, countCharacters } from "../text_policy.js";
import { byId } from "./element.js";
/** @import { ServerClock } from "../server_clock.js" */

const TYPING_EVERY_MS = 3_000;
const NOTE_MS = 6_000;
/** The composer shows how many characters are left from here on. */
const FEW_LEFT = 100;

export class ComposerView {
  #form = byId("composer");
  #text = byId("text", HTMLTextAreaElement);
  #file = byId("gif-file", HTMLInputElement);
  #gifButton = byId("gif-button", HTMLButtonElement);
  #send = byId("send", HTMLButtonElement);
  #note = byId("composer-note");
  #left = byId("characters-left");
  #slowMode = "";
  #muted = "";
  /** @type {number | undefined} */
  #noteTimer;
  #clock;
  #cancelUnmute = () => {};

  /**
   * @param {object} options
   * @param {ServerClock} options.clock
   * @param {(words: string) => void} options.onText
   * @param {(file: File) => void} options.onGif
   * @param {() => void} options.onTyping
   */
  constructor({ clock, onText, onGif, onTyping }) {
    this.#clock = clock;
    let typedAt = 0;
    const submit = () => {
      const raw = this.#text.value.trim();
      if (raw === "" || this.#send.disabled) return;
      const { text: words, code } = checkMessage(raw, pageData.limits);
      if (code !== null) {
        this.say(problemText({ code }));
        return;
      }
      onText(words);
      this.#text.value = "";
      typedAt = 0;
      this.#fit();
      this.#count();
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
      this.#count();
      const now = Date.now();
      if (this.#text.value !== "" && now - typedAt >= TYPING_EVERY_MS) {
        typedAt = now;
        onTyping();
      }
    });
    this.#gifButton.addEventListener("click", () => this.#file.click());
    this.#file.addEventListener("change", () => {
      const [file] = this.#file.files ?? [];
      this.#file.value = "";
      if (file === undefined) return;
      if (file.size > pageData.limits.gif_max_bytes) this.say(problemText({ code: "gif_too_large" }));
      else onGif(file);
    });
  }

  /**
   * Show a sentence beside the field for some seconds, then the permanent hint again.
   *
   * @param {string} words
   */
  say(words) {
    clearTimeout(this.#noteTimer);
    this.#note.textContent = words || this.#muted || this.#slowMode;
    if (words) this.#noteTimer = setTimeout(() => this.say(""), NOTE_MS);
  }

  /**
   * Show the room's slow mode.
   *
   * @param {number} seconds Between two messages of a user; 0: no limit.
   */
  setSlowMode(seconds) {
    const words = seconds > 0 ? text("slow_mode_hint", { seconds }) : "";
    if (words === this.#slowMode) return;
    this.#slowMode = words;
    this.say("");
  }

  /**
   * Disable the composer, because the user may not post.
   *
   * @param {Date | null} until By the server's clock, or null if permanent.
   * @param {string} words
   */
  mute(until, words) {
    this.#muted = words;
    this.#enable(false);
    this.say("");
    this.#cancelUnmute();
    if (until !== null) this.#cancelUnmute = this.#clock.at(until.getTime(), () => this.unmute(""));
  }

  /**
   * Enable the composer again.
   *
   * @param {string} words
   */
  unmute(words) {
    this.#cancelUnmute();
    this.#muted = "";
    this.#enable(true);
    this.say(words);
  }

  /** Hide the composer: the user is out of the room. */
  close() {
    this.#form.hidden = true;
    this.#note.hidden = true;
  }

  focus() {
    this.#text.focus();
  }

  /** @param {boolean} enabled */
  #enable(enabled) {
    for (const control of [this.#text, this.#gifButton, this.#send]) control.disabled = !enabled;
  }

  /** Show how many characters are left, or what is wrong with a long text. */
  #count() {
    const { limits } = pageData;
    const raw = this.#text.value.trim();
    let words = "";
    // Fewer units of UTF-16 are fewer characters.
    if (raw.length >= limits.text_max_chars - FEW_LEFT || raw.split("\n").length > limits.text_max_line_breaks) {
      const { text: written, code } = checkMessage(raw, limits);
      const count = limits.text_max_chars - (code === null ? countCharacters(written) : 0);
      if (code !== null) words = problemText({ code });
      else if (count <= FEW_LEFT) words = text("characters_left", { count });
    }
    this.#left.textContent = words;
  }

  /** Make the field as high as its text, within the limits of the style sheet. */
  #fit() {
    this.#text.style.setProperty("height", "auto");
    this.#text.style.setProperty("height", `${this.#text.scrollHeight + 2}px`);
  }
}
