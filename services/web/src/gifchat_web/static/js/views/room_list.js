/** The list of rooms, updated by the lobby's events. */

import { ConnectionCheck } from "../connection_check.js";
import { Lobby } from "../lobby.js";
import { pageData, problemText, text } from "../page_data.js";
import { LOBBY_NAMESPACE } from "../protocol.js";
import { RoomsApi } from "../rooms_api.js";
import { openSocket } from "../sockets.js";
import { BannerView } from "./banner.js";
import { byId, element, swatch } from "./element.js";

const TYPING_PAUSE_MS = 250;
/** A reloaded list has as many rooms as before, within these limits. */
const PAGE_MIN = 20;
const PAGE_MAX = 100;

/** @typedef {HTMLFormElement & {elements: {q: HTMLInputElement, sort: HTMLSelectElement}}} Filters */
/** @typedef {{row: HTMLTableRowElement, show: (room: Wire.Room) => void}} RoomRow */

export function showRoomList() {
  const api = new RoomsApi(pageData.language);
  const lobby = new Lobby();
  lobby.replace(
    { items: pageData.rooms, next_cursor: pageData.next_cursor },
    { query: pageData.q, sort: pageData.sort },
  );

  const table = byId("rooms", HTMLTableElement);
  const [body = table.createTBody()] = table.tBodies;
  const empty = byId("rooms-empty");
  const more = byId("rooms-more");
  const status = byId("rooms-status");
  const failure = byId("rooms-failure");
  const filters = /** @type {Filters} */ (document.querySelector("form.filters"));
  /** @type {Map<string, RoomRow>} */
  let shown = new Map();

  dropFromUrl("error");

  const render = () => {
    /** @type {typeof shown} */
    const current = new Map();
    for (const room of lobby.rooms) {
      const entry = shown.get(room._id) ?? roomRow(room);
      entry.show(room);
      current.set(room._id, entry);
    }
    shown = current;
    replaceRows(
      body,
      [...current.values()].map(({ row }) => row),
    );
    table.hidden = current.size === 0;
    empty.hidden = current.size > 0;
    empty.textContent = text(lobby.query ? "no_rooms_found" : "no_rooms");
    more.hidden = lobby.nextCursor === null;
  };

  /** @param {string} words */
  const fail = (words) => {
    failure.textContent = words;
    failure.hidden = words === "";
  };

  let wanted = 0;
  const load = async () => {
    const request = ++wanted;
    lobby.loading();
    const query = filters.elements.q.value.trim();
    const sort = filters.elements.sort.value;
    const limit = Math.min(PAGE_MAX, Math.max(PAGE_MIN, lobby.rooms.length));
    let page;
    try {
      page = await api.listRooms({ query, sort, limit });
    } catch (problem) {
      if (request !== wanted) return;
      lobby.loadingFailed();
      fail(problemText(/** @type {Page.Problem} */ (problem)));
      return;
    }
    if (request !== wanted) return;
    lobby.replace(page, { query, sort });
    fail("");
    render();
  };

  /** Search, and put the search into the URL, so that it survives a reload and the way back from a room. */
  const search = async () => {
    const query = new URLSearchParams({ q: filters.elements.q.value.trim(), sort: filters.elements.sort.value });
    history.replaceState(null, "", `/?${query}`);
    await load();
    status.textContent = failure.textContent || text("rooms_loaded", { count: lobby.rooms.length });
  };

  /** @type {number | undefined} */
  let pause;
  filters.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(search, TYPING_PAUSE_MS);
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(pause);
    search();
  });
  more.addEventListener("click", async (event) => {
    event.preventDefault();
    const request = wanted;
    let page;
    try {
      page = await api.listRooms({ query: lobby.query, sort: lobby.sort, cursor: lobby.nextCursor });
    } catch (problem) {
      fail(problemText(/** @type {Page.Problem} */ (problem)));
      return;
    }
    if (request !== wanted) return;
    lobby.append(page);
    fail("");
    render();
  });

  const socket = openSocket(LOBBY_NAMESPACE);
  // The lobby does not repeat events that this page missed since the server rendered it, so load the list again.
  // A page with a cursor comes from the link for browsers without scripts. It is not reloaded.
  socket.on("connect", () => new URLSearchParams(location.search).has("cursor") || load());
  socket.onAny((event, data) => {
    if (lobby.apply(event, data)) render();
  });
  const banner = new BannerView(byId("banner"));
  socket.on("connect", () => banner.show("joined"));
  for (const event of ["disconnect", "connect_error"]) socket.on(event, () => banner.show("lost"));
  new ConnectionCheck({
    socket,
    reopen: () => socket.disconnect().connect(),
    onDead: () => banner.showDead(),
    onTime: () => {},
  });
  render();
}

/**
 * Remove a parameter from the URL, so that a reload does not repeat its message.
 *
 * @param {string} parameter
 */
function dropFromUrl(parameter) {
  const url = new URL(location.href);
  url.searchParams.delete(parameter);
  history.replaceState(null, "", url);
}

/**
 * A row of the table, and the function that shows a room in it. The nodes stay the same, so a click hits its target.
 *
 * @param {Wire.Room} room
 * @returns {RoomRow}
 */
function roomRow({ _id, owner }) {
  const title = element("th", { scope: "row", class: "cell-title", dir: "auto" });
  const tag = element("span", { class: "tag" });
  const members = element("td", { class: "cell-members" });
  const enter = element("a", { class: "button", href: `/room/${_id}` }, text("enter"));
  const row = element(
    "tr",
    { "data-room": _id },
    title,
    element("td", { class: "cell-kind" }, tag),
    members,
    element("td", { class: "cell-owner" }, swatch(owner), element("span", { class: "color-name" }, owner)),
    element("td", { class: "cell-enter" }, enter),
  );
  /** @param {Wire.Room} room */
  const show = (room) => {
    title.textContent = room.title;
    tag.textContent = text(room.private ? "private" : "public");
    tag.classList.toggle("private", room.private);
    members.textContent = `${room.members} / ${room.max}`;
    enter.setAttribute("aria-label", text("enter_room", room));
  };
  return { row, show };
}

/**
 * Put `rows` into `body`. Rows that stay in place are not moved, so that they keep the focus.
 *
 * @param {HTMLTableSectionElement} body
 * @param {HTMLTableRowElement[]} rows
 */
function replaceRows(body, rows) {
  const wanted = new Set(rows);
  for (const row of [...body.rows]) if (!wanted.has(row)) row.remove();
  rows.forEach((row, at) => {
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
  });
}
