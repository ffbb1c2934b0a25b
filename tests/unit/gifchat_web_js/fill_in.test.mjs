import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fillIn } from "../../../services/web/src/gifchat_web/static/js/fill_in.js";
import { particle } from "../../../services/web/src/gifchat_web/static/js/particles.js";

const I18N = new URL("../../../services/web/src/gifchat_web/i18n/", import.meta.url);
const EXAMPLES = new URL("../gifchat_web/particles.json", import.meta.url);
const json = (url) => JSON.parse(readFileSync(url, "utf8"));

test("the particle fits the sound before it", () => {
  for (const [before, pair, expected] of json(EXAMPLES)) {
    assert.equal(particle(before, pair), expected, `${before} + ${pair}`);
  }
});

test("the count chooses the plural form", () => {
  const rooms = { one: "{count} room", other: "{count} rooms" };
  assert.deepEqual(
    [0, 1, 2].map((count) => fillIn(rooms, { count }, "en")),
    ["0 rooms", "1 room", "2 rooms"],
  );
  assert.equal(fillIn({ other: "방 {count}개" }, { count: 1 }, "ko"), "방 1개");
  assert.throws(() => fillIn({ one: "{count} room" }, { count: 2 }, "en"), RangeError);
});

test("a particle fits the value before it", () => {
  assert.equal(fillIn("‘{title}’{을/를} 삭제", { title: "점심 방" }, "ko"), "‘점심 방’을 삭제");
  assert.equal(fillIn("‘{title}’{을/를} 삭제", { title: "커피" }, "ko"), "‘커피’를 삭제");
});

test("a value is not read as a pattern", () => {
  assert.equal(fillIn("{title}!", { title: "{count} {을/를} $&" }, "ko"), "{count} {을/를} $&!");
});

for (const file of readdirSync(I18N).filter((name) => name.endsWith(".json"))) {
  const language = file.replace(".json", "");
  const rules = new Intl.PluralRules(language);
  const categories = rules.resolvedOptions().pluralCategories;

  test(`${file}: a text with plural forms has one for each category of the language`, () => {
    for (const [key, text] of Object.entries(json(new URL(file, I18N)))) {
      if (typeof text !== "string") assert.deepEqual(Object.keys(text).sort(), [...categories].sort(), key);
    }
  });

  // domain/fill_in.py has the same rule for the server's templates.
  test(`${file}: the plural rule is "one" for 1 and "other" for the rest`, () => {
    for (let count = 0; count <= 1_000; count += 1) {
      assert.equal(rules.select(count), count === 1 && categories.includes("one") ? "one" : "other");
    }
  });
}
