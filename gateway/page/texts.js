// All that the page says, in the language of its user: the other one is not loaded.

import { LANGUAGE } from "./language.js";

const { documentElement: root } = document;
// English until then, which is not what the user is to see.
root.hidden = LANGUAGE !== "en";
const loaded = await (LANGUAGE === "en" ? import("./en.js") : import("./pt.js")).finally(() => {
  root.hidden = false;
});
export const { html, texts: TEXTS } = loaded;

/**
 * The text for a name that a producer or the gateway gives, or else `otherwise`.
 * @param {Record<string, string>} texts
 * @param {string} name
 */
export const textOf = (texts, name, otherwise = name) =>
  Object.hasOwn(texts, name) ? texts[name] : otherwise;

/** What was refused and why: in the page's language, where it knows the code.
 * @param {{ code: string, message: string } | { error: string, message: string }} refusal */
export const problemOf = (refusal) =>
  textOf(TEXTS.problems, "code" in refusal ? refusal.code : refusal.error, refusal.message);
