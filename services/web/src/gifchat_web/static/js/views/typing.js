/** Who is typing: told by an event each, forgotten after a while or with their message. */

import { text } from "../page_data.js";

const SHOWN_MS = 5_000;

export class TypingView {
  #node;
  #users = new Map();

  constructor(node) {
    this.#node = node;
  }

  /** A user types. */
  add(userId, color) {
    clearTimeout(this.#users.get(userId)?.timer);
    this.#users.set(userId, { color, timer: setTimeout(() => this.remove(userId), SHOWN_MS) });
    this.#render();
  }

  /** A user has sent, or left. */
  remove(userId) {
    clearTimeout(this.#users.get(userId)?.timer);
    if (this.#users.delete(userId)) this.#render();
  }

  /** Nobody types any more. */
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
