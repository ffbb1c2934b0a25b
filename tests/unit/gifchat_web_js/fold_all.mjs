/** Fold each character, as the list of rooms does: `node fold_all.mjs <code points> <results>`, both in JSON. */

import { readFileSync, writeFileSync } from "node:fs";

import { load } from "./golden.mjs";

const { foldTitle } = await load("text_policy.js");
const [, , asked, answered] = process.argv;
const codes = JSON.parse(readFileSync(asked, "utf8"));
writeFileSync(answered, JSON.stringify(codes.map((code) => foldTitle(String.fromCodePoint(code)))));
