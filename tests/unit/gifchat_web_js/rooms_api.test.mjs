import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { RoomsApi } = await load("rooms_api.js");

test("every response sets the clock, even a refusal", async () => {
  const date = "Mon, 30 Nov 2026 13:14:15 GMT";
  const heard = [];
  const statuses = [200, 503];
  const api = new RoomsApi("en", {
    clock: { syncToDate: (header) => heard.push(header) },
    fetch: async () => new Response("{}", { status: statuses.shift(), headers: { Date: date } }),
  });
  await api.listRooms({});
  await assert.rejects(api.listRooms({}), { code: "unavailable" });
  assert.deepEqual(heard, [date, date]);
});
