/** The list of rooms, alive. */

import { Lobby } from "../lobby.js";
import { pageData, problemText, text } from "../page_data.js";
import { LOBBY_NAMESPACE } from "../protocol.js";
import { RoomsApi } from "../rooms_api.js";
import { openSocket } from "../sockets.js";
import { element, swatch } from "./element.js";

const TYPING_PAUSE_MS = 250;

export function showRoomList() {
  const api = new RoomsApi(pageData.language);
  const lobby = new Lobby();
  lobby.replace({ items: pageData.rooms, next_cursor: pageData.next_cursor }, { query: pageData.q, sort: pageData.sort });

  const table = document.querySelector("#rooms tbody");
  const empty = document.getElementById("rooms-empty");
  const more = document.getElementById("rooms-more");
  const status = document.getElementById("rooms-status");
  const filters = document.querySelector("form.filters");
  const shown = new Map();

  const render = () => {
    const rows = lobby.rooms.map((room) => {
      const known = shown.get(room._id);
      if (known?.room === room) return known.row;
      const row = roomRow(room);
      shown.set(room._id, { room, row });
      return row;
    });
    const current = new Set(rows);
    for (const [roomId, { row }] of shown) if (!current.has(row)) shown.delete(roomId);
    replaceRows(table, rows);
    table.parentElement.hidden = rows.length === 0;
    empty.hidden = rows.length > 0;
    empty.textContent = text(lobby.query ? "no_rooms_found" : "no_rooms");
    more.hidden = lobby.nextCursor === null;
  };

  let wanted = 0;
  const load = async () => {
    const request = ++wanted;
    const query = filters.elements.q.value.trim();
    const sort = filters.elements.sort.value;
    try {
      const page = await api.listRooms({ query, sort });
      if (request !== wanted) return;
      lobby.replace(page, { query, sort });
      render();
      status.textContent = text("rooms_loaded", { count: lobby.rooms.length });
    } catch (problem) {
      if (request === wanted) status.textContent = problemText(problem);
    }
  };

  let pause;
  filters.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(load, TYPING_PAUSE_MS);
  });
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  more.addEventListener("click", async (event) => {
    event.preventDefault();
    const request = wanted;
    try {
      const page = await api.listRooms({ query: lobby.query, sort: lobby.sort, cursor: lobby.nextCursor });
      if (request !== wanted) return;
      lobby.append(page);
      render();
    } catch (problem) {
      status.textContent = problemText(problem);
    }
  });

  const socket = openSocket(LOBBY_NAMESPACE);
  let connectedBefore = false;
  socket.on("connect", () => {
    // What happened while nobody listened is not told again.
    if (connectedBefore) load();
    connectedBefore = true;
  });
  socket.onAny((event, data) => {
    if (lobby.apply(event, data)) render();
  });
  render();
}

function roomRow(room) {
  const kind = room.private ? "private" : "public";
  return element(
    "tr",
    { "data-room": room._id },
    element("th", { scope: "row", class: "cell-title" }, room.title),
    element("td", { class: "cell-kind" }, element("span", { class: `tag ${kind}` }, text(kind))),
    element("td", { class: "cell-members" }, `${room.members} / ${room.max}`),
    element("td", { class: "cell-owner" }, swatch(room.owner), element("span", { class: "color-name" }, room.owner)),
    element(
      "td",
      { class: "cell-enter" },
      element("a", { class: "button", href: `/room/${room._id}`, "aria-label": text("enter_room", room) }, text("enter")),
    ),
  );
}

/** Put `rows` into `table` without moving those that stay where they are, so that focus stays too. */
function replaceRows(table, rows) {
  const wanted = new Set(rows);
  for (const row of [...table.children]) if (!wanted.has(row)) row.remove();
  rows.forEach((row, at) => {
    if (table.children[at] !== row) table.insertBefore(row, table.children[at] ?? null);
  });
}
