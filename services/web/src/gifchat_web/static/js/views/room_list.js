/** The list of rooms, alive. */

import { LineCheck } from "../line_check.js";
import { Lobby } from "../lobby.js";
import { pageData, problemText, text } from "../page_data.js";
import { LOBBY_NAMESPACE } from "../protocol.js";
import { RoomsApi } from "../rooms_api.js";
import { openSocket } from "../sockets.js";
import { BannerView } from "./banner.js";
import { element, swatch } from "./element.js";

const TYPING_PAUSE_MS = 250;
/** A list that is read anew is not shorter than it was, as far as one page goes. */
const PAGE_MIN = 20;
const PAGE_MAX = 100;

export function showRoomList() {
  const api = new RoomsApi(pageData.language);
  const lobby = new Lobby();
  lobby.replace(
    { items: pageData.rooms, next_cursor: pageData.next_cursor },
    { query: pageData.q, sort: pageData.sort },
  );

  const table = document.querySelector("#rooms tbody");
  const empty = document.getElementById("rooms-empty");
  const more = document.getElementById("rooms-more");
  const status = document.getElementById("rooms-status");
  const failure = document.getElementById("rooms-failure");
  const filters = document.querySelector("form.filters");
  let shown = new Map();

  dropFromUrl("error");

  const render = () => {
    const current = lobby.rooms.map((room) => {
      const entry = shown.get(room._id) ?? roomRow(room);
      entry.show(room);
      return [room._id, entry];
    });
    shown = new Map(current);
    replaceRows(
      table,
      current.map(([, { row }]) => row),
    );
    table.parentElement.hidden = current.length === 0;
    empty.hidden = current.length > 0;
    empty.textContent = text(lobby.query ? "no_rooms_found" : "no_rooms");
    more.hidden = lobby.nextCursor === null;
  };

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
      fail(problemText(problem));
      return;
    }
    if (request !== wanted) return;
    lobby.replace(page, { query, sort });
    fail("");
    render();
  };

  /** The search is in the URL too, so that it is there after a reload and on the way back from a room. */
  const search = async () => {
    const query = new URLSearchParams({ q: filters.elements.q.value.trim(), sort: filters.elements.sort.value });
    history.replaceState(null, "", `/?${query}`);
    await load();
    status.textContent = failure.textContent || text("rooms_loaded", { count: lobby.rooms.length });
  };

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
      fail(problemText(problem));
      return;
    }
    if (request !== wanted) return;
    lobby.append(page);
    fail("");
    render();
  });

  const socket = openSocket(LOBBY_NAMESPACE);
  // What happened while nobody listened, also between the making of this page and now, is not told again.
  // A further page, which the link for browsers without scripts leads to, stays what it is.
  socket.on("connect", () => new URLSearchParams(location.search).has("cursor") || load());
  socket.onAny((event, data) => {
    if (lobby.apply(event, data)) render();
  });
  const banner = new BannerView(document.getElementById("banner"));
  socket.on("connect", () => banner.show("joined"));
  for (const event of ["disconnect", "connect_error"]) socket.on(event, () => banner.show("lost"));
  new LineCheck({
    socket,
    reopen: () => socket.disconnect().connect(),
    onDead: () => banner.showDead(),
    onTime: () => {},
  });
  render();
}

/** A reload should not say again what was said once. */
function dropFromUrl(parameter) {
  const url = new URL(location.href);
  url.searchParams.delete(parameter);
  history.replaceState(null, "", url);
}

/** A row of the table and how it shows a room as it is now: the same nodes, so that a click under way hits what it was meant for. */
function roomRow({ _id, owner }) {
  const title = element("th", { scope: "row", class: "cell-title" });
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
  const show = (room) => {
    title.textContent = room.title;
    tag.textContent = text(room.private ? "private" : "public");
    tag.classList.toggle("private", room.private);
    members.textContent = `${room.members} / ${room.max}`;
    enter.setAttribute("aria-label", text("enter_room", room));
  };
  return { row, show };
}

/** Put `rows` into `table` without moving those that stay where they are, so that focus stays too. */
function replaceRows(table, rows) {
  const wanted = new Set(rows);
  for (const row of [...table.children]) if (!wanted.has(row)) row.remove();
  rows.forEach((row, at) => {
    if (table.children[at] !== row) table.insertBefore(row, table.children[at] ?? null);
  });
}
