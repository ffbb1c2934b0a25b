/** Connection status, shown only while degraded. */

import { problemText, text } from "../page_data.js";

const DELAY_MS = 800;

export class BannerView {
  #node;
  /** @type {number | undefined} */
  #timer;
  /** @type {Page.Status} */
  #status = "joining";
  /** @type {Page.Problem | null} */
  #problem = null;
  #joinedBefore = false;

  /** @param {HTMLElement} node */
  constructor(node) {
    this.#node = node;
    for (const event of ["online", "offline"]) addEventListener(event, () => this.#render());
    this.show("joining");
  }

  /**
   * Show the status of a `RoomConnection`. The banner appears with a delay, so a short interruption does not show it.
   *
   * @param {Page.Status} status
   * @param {Page.Problem | null} problem Why the connection waits.
   */
  show(status, problem = null) {
    this.#status = status;
    this.#problem = problem;
    if (status === "joined") this.#joinedBefore = true;
    clearTimeout(this.#timer);
    if (status === "joined" || status === "waiting") this.#render();
    else this.#timer = setTimeout(() => this.#render(), DELAY_MS);
  }

  /** The connection is dead: show the banner without the usual delay. */
  showDead() {
    this.show("lost");
    clearTimeout(this.#timer);
    this.#render();
  }

  #render() {
    this.#node.textContent = this.#words();
    this.#node.hidden = this.#node.textContent === "";
  }

  #words() {
    if (!navigator.onLine) return text("offline");
    if (this.#status === "joined") return "";
    if (this.#status === "waiting" && this.#problem !== null) {
      return text("retrying_join", { reason: problemText(this.#problem) });
    }
    return text(this.#joinedBefore ? "reconnecting" : "connecting");
  }
}
