/** Shows who is typing. A name disappears after some seconds, or when the user's message arrives. */

import { text } from "../page_data.js";

const SHOWN_MS = 5_000;

export class TypingView {
  #node;
  /** @type {Map<string, {color: string, timer: number}>} */
  #users = new Map();

  /** @param {HTMLElement} node */
  constructor(node) {
    this.#node = node;
  }

  /**
   * Show that a user is typing.
   *
   * @param {string} userId
   * @param {string} color
   */
  add(userId, color) {
    clearTimeout(this.#users.get(userId)?.timer);
    this.#users.set(userId, { color, timer: setTimeout(() => this.remove(userId), SHOWN_MS) });
    this.#render();
  }

  /**
   * Hide a user who sent a message or left.
   *
   * @param {string} userId
   */
  remove(userId) {
    clearTimeout(this.#users.get(userId)?.timer);
    if (this.#users.delete(userId)) this.#render();
  }

  /** Hide all users. */
  clear() {
    for (const userId of [...this.#users.keys()]) this.remove(userId);
  }

  #render() {
    const [first, second, third] = [...this.#users.values()].map(({ color }) => color);
    if (first === undefined) this.#node.textContent = "";
    else if (second === undefined) this.#node.textContent = text("typing_one", { user: first });
    else if (third === undefined) this.#node.textContent = text("typing_two", { first, second });
    else this.#node.textContent = text("typing_many");
  }
}
