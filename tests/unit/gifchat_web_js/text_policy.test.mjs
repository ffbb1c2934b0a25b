import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { load } from "./golden.mjs";

const { checkMessage, checkTitle, countCharacters } = await load("text_policy.js");

// `gifchat_rooms_api/test_text.py` runs the same examples, and compares these limits with the contract.
const read = (name) => readFileSync(new URL(`../gifchat_rooms_api/${name}`, import.meta.url), "utf8");
const EXAMPLES = JSON.parse(read("texts.json"));

/** The text of an example: a string, or a list of strings and `[string, times]`. */
const whole = (value) =>
  [value]
    .flat(1)
    .map((each) => (typeof each === "string" ? each : each[0].repeat(each[1])))
    .join("");

for (const [kind, check] of [
  ["messages", checkMessage],
  ["titles", checkTitle],
]) {
  for (const { why, raw, text, code = null } of EXAMPLES[kind]) {
    test(`${kind}: ${why}`, () => {
      const checked = check(whole(raw), EXAMPLES.limits);
      assert.equal(checked.code, code);
      if (code !== null) return;
      assert.equal(checked.text, whole(text));
      assert.deepEqual(check(checked.text, EXAMPLES.limits), checked);
    });
  }
}

test("characters are those of the test file of Unicode", () => {
  const lines = read("GraphemeBreakTest.txt")
    .split("\n")
    .map((line) => line.split("#")[0].trim())
    .filter((line) => line !== "");
  assert.equal(lines.length, 766);
  for (const line of lines) {
    const codes = line.match(/[0-9A-F]+/g).map((code) => Number.parseInt(code, 16));
    assert.equal(countCharacters(String.fromCodePoint(...codes)), line.split("÷").length - 2, line);
  }
});
