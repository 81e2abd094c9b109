// The events as they came, newest last, with a filter.

import {
  byId,
  element,
  exactClock,
  field,
  moment,
  shown as asText,
  stayAtEnd,
  write,
} from "./dom.js";
import { isAbout } from "./one_step.js";
import { rowsShown } from "./rows.js";
import { TEXTS } from "./texts.js";

/** @import { ExecutionEvent } from "/api/v1/sse/client/executions.js" */
/** @import { Envelope } from "./one_step.js" */
/** @import { Row } from "./rows.js" */

// Only an event with at most so many characters is shown with one member a line: the indentation of
// a long and deep one would make it a thousand times as long.
const INDENTED = 20_000;
// The latest lines that are in the document: thousands would make each frame slow.
const LINES = 500;
// Lines of one part of the log, and those that are marked as new.
const PART = 100;
const MARKED = 20;

/** @type {readonly ExecutionEvent[]} */
let shown = [];
/** Of each event what the filter looks at.
 * @type {string[]} */
let texts = [];
let bytes = 0;
/** The lines that are in the document, and those that are marked as new.
 * @type {HTMLElement[]} */
let lines = [];
/** @type {HTMLElement[]} */
const newest = [];
let most = LINES;
/** Only events of its steps are shown; null: all.
 * @type {Row | null} */
let only = null;
/** Events that pass the filter. */
let passing = 0;
const log = byId("log");
const end = stayAtEnd(log);
const earlier = element("button");

/**
 * Show `events`; lines that are there already stay as they are, opened or not. Those that `areNew`
 * are marked for a moment. Returns the bytes of all events.
 * @param {readonly ExecutionEvent[]} events
 * @param {boolean} areNew
 */
export function drawLog(events, areNew) {
  const isSame = shown.length <= events.length && shown.every((event, n) => event === events[n]);
  if (!isSame) {
    bytes = 0;
    texts = [];
    most = LINES;
  }
  const from = texts.length;
  for (const event of events.slice(from)) {
    const text = JSON.stringify(event);
    bytes += new TextEncoder().encode(text).length;
    texts.push(text.toLowerCase());
  }
  shown = [...events];
  if (isSame) add(from, areNew);
  else redraw();
  return bytes;
}

const passes = (/** @type {number} */ n) =>
  (!only || isAbout(only, shown[n])) && texts[n].includes(field("filter").value.toLowerCase());

/** Whether only this row's events are shown.
 * @param {Row} row */
export const isOnly = ({ name, spans: [{ step }, ...more] }) =>
  !!only && (more.length ? only.name === name && !!only.spans[1] : only.spans[0].step === step);

/** @param {Row | null} row */
function showOnly(row) {
  only = row;
  byId("only").hidden = !row;
  if (row) write(byId("only"), TEXTS.log.only(row.name));
  // What has ended is not drawn again by itself.
  for (const item of byId("timeline").children) {
    const one = rowsShown.get(item);
    item.ariaCurrent = String(!!one && isOnly(one));
  }
  redraw();
}

/** Without any filter. */
export function showAll() {
  field("filter").value = "";
  showOnly(null);
}

/** @param {number} from the place of the first event that is to be added
 * @param {boolean} areNew */
function add(from, areNew) {
  const wanted = [];
  for (let n = from; n < shown.length; n++) if (passes(n)) wanted.push(n);
  passing += wanted.length;
  const added = wanted.slice(-most).map((n) => line(shown[n]));
  if (areNew) mark(added);
  append(added);
  // What the user reads does not move away.
  if (!end.isAway()) for (const one of lines.splice(0, lines.length - most)) remove(one);
  const left = passing - lines.length;
  earlier.hidden = left === 0;
  if (left) write(earlier, TEXTS.log.earlier(left));
}

function redraw() {
  lines = [];
  passing = 0;
  log.replaceChildren(earlier);
  log.classList.toggle("filtered", only !== null || field("filter").value !== "");
  add(0, false);
}

/** @param {HTMLElement} one */
function remove(one) {
  const part = one.parentElement;
  one.remove();
  if (part?.childElementCount === 0) part.remove();
}

/** Mark lines as new, until others are: an animation that is over costs time too.
 * @param {HTMLElement[]} added */
function mark(added) {
  for (const one of added) one.classList.add("new");
  newest.push(...added);
  for (const one of newest.splice(0, newest.length - MARKED)) one.classList.remove("new");
}

/** The browser leaves out whole parts that are not in sight: to look at each line would take as long as
 * to draw it.
 * @param {HTMLElement[]} added */
function append(added) {
  for (const one of added) {
    let part = log.lastElementChild;
    if (part?.tagName !== "OL" || part.childElementCount >= PART) {
      part?.classList.add("full");
      part = element("ol");
      log.append(part);
      end.observe(part);
    }
    part.append(one);
  }
  lines.push(...added);
}

/** @param {ExecutionEvent} event */
function line(event) {
  const { data, timestamp } = /** @type {Envelope} */ (event);
  const isGap = event.type === "stream:gap";
  const about = isGap ? TEXTS.rows.missing(event.missed) : (data?.node_type ?? data?.reason ?? "");
  const summary = element(
    "summary",
    "",
    element("span", "faint", exactClock(moment(timestamp)) || "-"),
    element("span", "", asText(event.type)),
    element("span", "faint", asText(about)),
  );
  const whole = element("pre");
  const details = element("details", "", summary, whole);
  details.addEventListener("toggle", () => {
    const text = JSON.stringify(event);
    whole.textContent ||= text.length > INDENTED ? text : JSON.stringify(event, null, 2);
  });
  return element("li", isGap ? "gap" : "", details);
}

/** The events that the filter leaves. */
function chosen() {
  const events = shown.filter((_, n) => passes(n));
  return { count: events.length, json: JSON.stringify(events, null, 2) };
}

async function copy() {
  const { count, json } = chosen();
  let text = TEXTS.log.copied(count);
  try {
    await navigator.clipboard.writeText(json);
  } catch {
    text = TEXTS.log.notCopied;
  }
  byId("copied").textContent = text;
  setTimeout(() => (byId("copied").textContent = ""), 3000);
}

function save() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([chosen().json], { type: "application/json" }));
  link.download = `${byId("run").dataset.execution}.json`;
  link.click();
  // The browser has it when the click is over.
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A click or Enter on a step: its events alone, or all of them again.
 * @param {Event} event */
function choose(event) {
  const item = /** @type {Element} */ (event.target).closest("li");
  const row = item && rowsShown.get(item);
  if (!row?.spans[0].step || ("key" in event && event.key !== "Enter")) return;
  showOnly(isOnly(row) ? null : row);
}

field("filter").addEventListener("input", redraw);
for (const type of ["click", "keydown"]) byId("timeline").addEventListener(type, choose);
byId("only").addEventListener("click", () => showOnly(null));
byId("save").addEventListener("click", save);
earlier.addEventListener("click", () => {
  most += LINES;
  redraw();
});
byId("copy").addEventListener("click", copy);
