import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { golden, load } from "./golden.mjs";

const { Lobby } = await load("lobby.js");

const room = (id, more = {}) => ({ ...golden("new_room").data, _id: id, title: `room ${id}`, ...more });
const ids = (lobby) => lobby.rooms.map(({ _id }) => _id);

function lobbyWith(items, filter = {}, nextCursor = null) {
  const lobby = new Lobby();
  lobby.replace({ items, next_cursor: nextCursor }, filter);
  return lobby;
}

test("a new room comes first, once", () => {
  const lobby = lobbyWith([room("a")]);
  assert.equal(lobby.apply("newRoom", room("b")), true);
  assert.equal(lobby.apply("newRoom", room("b")), false);
  assert.deepEqual(ids(lobby), ["b", "a"]);
});

test("a new room that does not match the search is not shown", () => {
  const lobby = lobbyWith([], { query: "Cats" });
  assert.equal(lobby.apply("newRoom", room("a", { title: "dogs" })), false);
  assert.equal(lobby.apply("newRoom", room("b", { title: "my cats" })), true);
});

test("a new room is matched as the server searches", () => {
  const found = (query, title) => lobbyWith([], { query }).apply("newRoom", room("a", { title }));
  const { same_in_searches: same, different_in_searches: different } = JSON.parse(
    readFileSync(new URL("../gifchat_rooms_api/texts.json", import.meta.url), "utf8"),
  );
  for (const [one, other] of same) assert.ok(found(one, `x${other}y`) && found(other, `x${one}y`), `${one} ${other}`);
  for (const [one, other] of different) assert.ok(!found(one, other) && !found(other, one), `${one} ${other}`);
  assert.ok(found(" \u202egif\r\n", "ＧＩＦ"), "a query is mended like a title");
  assert.ok(found("\u200b", "anything"), "a query of invisible characters finds all rooms");
});

test("sorted by members, a new room appears only at the end of the complete list", () => {
  assert.deepEqual(
    ids(((lobby) => (lobby.apply("newRoom", room("b")), lobby))(lobbyWith([room("a")], { sort: "members" }))),
    ["a", "b"],
  );
  assert.equal(lobbyWith([room("a")], { sort: "members" }, "next").apply("newRoom", room("b")), false);
});

test("rooms change, fill up and are removed", () => {
  const lobby = lobbyWith([room("a"), room("b")]);
  assert.equal(lobby.apply("roomChanged", room("a", { title: "changed" })), true);
  assert.equal(lobby.apply("occupancy", { b: 7, unknown: 1 }), true);
  assert.equal(lobby.rooms[0].title, "changed");
  assert.equal(lobby.rooms[1].members, 7);
  assert.equal(lobby.apply("removeRoom", "a"), true);
  assert.equal(lobby.apply("removeRoom", "a"), false);
  assert.equal(lobby.apply("occupancy", { unknown: 1 }), false);
  assert.deepEqual(ids(lobby), ["b"]);
});

test("another page shows no room twice", () => {
  const lobby = lobbyWith([room("a")], {}, "next");
  lobby.apply("newRoom", room("c"));
  lobby.append({ items: [room("a"), room("b")], next_cursor: null });
  assert.deepEqual(ids(lobby), ["c", "a", "b"]);
  assert.equal(lobby.nextCursor, null);
});

test("events during a load are applied, even if the answer already had them", () => {
  const lobby = lobbyWith([room("a")]);
  lobby.loading();
  lobby.apply("newRoom", room("b"));
  lobby.apply("newRoom", room("c"));
  lobby.apply("removeRoom", "a");
  lobby.apply("occupancy", { b: 5 });
  lobby.replace({ items: [room("b"), room("a")], next_cursor: null });
  assert.deepEqual(ids(lobby), ["c", "b"]);
  assert.equal(lobby.rooms[1].members, 5);
});

test("events before a load are not applied to its result", () => {
  const lobby = lobbyWith([room("a")]);
  lobby.loading();
  lobby.apply("removeRoom", "a");
  lobby.loadingFailed();
  lobby.replace({ items: [room("a")], next_cursor: null });
  assert.deepEqual(ids(lobby), ["a"]);
});
