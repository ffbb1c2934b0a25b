/** Shows the rows of a timeline as list items. It rebuilds only changed rows and keeps the scroll position. */

import { moment, problemText, text } from "../page_data.js";
import { Action, actionOf } from "../protocol.js";
import { element, swatch } from "./element.js";
import { gifView } from "./gif.js";

const NEAR_END_PX = 80;
const CONTINUES_MS = 5 * 60_000;

/** @typedef {Page.MessageRow & {seq: number}} LoggedRow */

export class MessagesView {
  #scroller;
  #list;
  #jump;
  #actions;
  #ownerId;
  /** @type {Map<string, {row: Page.Row, continued: boolean, node: HTMLElement}>} */
  #shown = new Map();
  #atEnd = true;

  /**
   * @param {object} options
   * @param {HTMLElement} options.scroller
   * @param {HTMLElement} options.list
   * @param {HTMLElement} options.jump
   * @param {string} options.ownerId
   * @param {object} options.actions
   * @param {(row: Page.MessageRow) => void} options.actions.onRetry
   * @param {(row: Page.MessageRow) => void} options.actions.onDiscard
   * @param {((row: LoggedRow) => void) | null} options.actions.onManage Null: the user is not the owner.
   */
  constructor({ scroller, list, jump, ownerId, actions }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#jump = jump;
    this.#ownerId = ownerId;
    this.#actions = actions;
    scroller.addEventListener("scroll", () => this.#noticePlace(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(list);
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(scroller);
  }

  /** Whether the newest row is in sight. */
  get atEnd() {
    return this.#atEnd;
  }

  /** Go to the newest row. */
  toEnd() {
    this.#atEnd = true;
    this.#jump.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /**
   * Show `rows`. Rows that are added at the front do not move the visible rows.
   *
   * @param {Page.Row[]} rows
   */
  render(rows) {
    const fromEnd = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    const firstBefore = this.#list.firstElementChild;
    const lastBefore = this.#list.lastElementChild;
    const nodes = [];
    const keys = new Set();
    let previous = null;
    for (const row of rows) {
      const continued = continues(previous, row);
      nodes.push(this.#node(row, continued));
      keys.add(row.key);
      previous = row;
    }
    for (const key of this.#shown.keys()) if (!keys.has(key)) this.#shown.delete(key);
    this.#place(nodes);
    if (this.#atEnd) this.toEnd();
    else if (this.#list.firstElementChild !== firstBefore)
      this.#scroller.scrollTop = this.#scroller.scrollHeight - fromEnd;
    else if (this.#list.lastElementChild !== lastBefore) this.#jump.hidden = false;
  }

  #noticePlace() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (this.#atEnd) this.#jump.hidden = true;
  }

  /**
   * @param {Page.Row} row
   * @param {boolean} continued
   */
  #node(row, continued) {
    const known = this.#shown.get(row.key);
    if (known?.row === row && known.continued === continued) return known.node;
    const node = row.kind === "message" ? this.#message(row, continued) : line(row);
    this.#shown.set(row.key, { row, continued, node });
    return node;
  }

  /** @param {HTMLElement[]} nodes */
  #place(nodes) {
    const wanted = new Set(nodes);
    for (const node of [...this.#list.children]) if (!wanted.has(/** @type {HTMLElement} */ (node))) node.remove();
    nodes.forEach((node, at) => {
      if (this.#list.children[at] !== node) this.#list.insertBefore(node, this.#list.children[at] ?? null);
    });
  }

  /**
   * @param {Page.MessageRow} row
   * @param {boolean} continued
   */
  #message(row, continued) {
    const classes = ["message", row.status, row.mine ? "mine" : "theirs"];
    if (continued) classes.push("continued");
    const node = element("li", { class: classes.join(" ") });
    node.append(this.#head(row, continued));
    const bubble = element("div", { class: row.gif && !row.deleted ? "bubble picture" : "bubble" }, content(row));
    const { onManage } = this.#actions;
    const manage =
      onManage && row.status === "sent" && !row.deleted
        ? element(
            "button",
            {
              type: "button",
              class: "button quiet icon manage",
              "aria-label": text("message_actions"),
              "aria-haspopup": "dialog",
              on: { click: () => onManage(/** @type {LoggedRow} */ (row)) },
            },
            "⋯",
          )
        : null;
    node.append(element("div", { class: "bubble-line" }, ...[bubble, manage].filter((part) => part !== null)));
    if (row.status !== "sent") node.append(this.#delivery(row));
    return node;
  }

  /**
   * @param {Page.MessageRow} row
   * @param {boolean} continued
   */
  #head(row, continued) {
    const labels = [row.mine ? text("you") : null, row.userId === this.#ownerId ? text("owner") : null];
    return element(
      "div",
      { class: continued ? "message-head visually-hidden" : "message-head" },
      swatch(row.color),
      element("span", { class: "author" }, row.color),
      ...labels.filter((label) => label !== null).map((label) => element("span", { class: "label" }, label)),
      element(
        "time",
        { datetime: row.createdAt, title: new Date(row.createdAt).toLocaleString() },
        moment(row.createdAt),
      ),
    );
  }

  /** @param {Page.MessageRow} row */
  #delivery(row) {
    if (row.status === "pending") {
      const words = row.percent === undefined ? text("sending") : text("uploading", row);
      const bar =
        row.percent === undefined ? null : element("progress", { max: 100, value: row.percent, "aria-hidden": "true" });
      return element("p", { class: "delivery" }, words, bar);
    }
    const failure = row.failure ?? { code: "internal" };
    /**
     * @param {string} key
     * @param {(row: Page.MessageRow) => void} action
     */
    const button = (key, action) =>
      element("button", { type: "button", class: "link", on: { click: () => action(row) } }, text(key));
    return element(
      "p",
      { class: "delivery failed", role: "alert" },
      element("span", {}, `${text("not_sent")} ${problemText(failure)}`),
      // The server would refuse the same file or text again.
      actionOf(failure.code) === Action.FIX ? null : button("retry", this.#actions.onRetry),
      button("discard", this.#actions.onDiscard),
    );
  }
}

/** @param {Page.MessageRow} row */
function content(row) {
  if (row.deleted) return element("em", { class: "deleted" }, text("message_deleted"));
  if (row.gif) return gifView(row.gif, text("gif_of", { user: row.color }));
  return element("p", { class: "text", dir: "auto" }, row.text ?? "");
}

/**
 * @param {Page.Row | null} previous
 * @param {Page.Row} row
 */
function continues(previous, row) {
  return (
    previous?.kind === "message" &&
    row.kind === "message" &&
    previous.userId === row.userId &&
    Date.parse(row.createdAt) - Date.parse(previous.createdAt) < CONTINUES_MS
  );
}

/** @param {Page.NoticeRow | Page.SystemRow} row */
function line(row) {
  const color = row.kind === "system" ? row.color : undefined;
  return element("li", { class: "line" }, color ? swatch(color) : null, lineText(row));
}

/** @param {Page.NoticeRow | Page.SystemRow} row */
function lineText(row) {
  if (row.kind === "notice") return row.seconds > 0 ? text("slow_mode_on", row) : text("slow_mode_off");
  switch (row.code) {
    case "presence_joined":
    case "presence_left":
      return text(row.code, row);
    default:
      return text(row.code, { user: row.color });
  }
}
