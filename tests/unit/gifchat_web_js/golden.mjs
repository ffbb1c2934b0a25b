import { readFileSync, readdirSync } from "node:fs";

const FOLDER = new URL("../../../contracts/golden/", import.meta.url);

export const golden = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));

export const goldenEvents = () =>
  readdirSync(FOLDER)
    .filter((file) => file.endsWith(".json") && file !== "errors.json")
    .map((file) => golden(file.replace(/\.json$/, "")));

const STATIC = "../../../services/web/src/gifchat_web/static/js/";

export const load = (name) => import(new URL(`${STATIC}${name}`, import.meta.url).href);
