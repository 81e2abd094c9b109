// The events as they came, newest last, with a filter.

import { byId, element, exactClock, field, moment, shown as asText, stayingAtEnd } from "./dom.js";

/** @import { ExecutionEvent } from "/api/v1/sse/client/index.js" */
/** What most events have; a producer may have put any value there, or none.
 * @typedef {{ data?: Record<string, unknown> | null, timestamp?: unknown }} Envelope */

// Only an event with at most so many characters is shown with one member a line: the indentation of
// a long and deep one would make it a thousand times as long.
const INDENTED = 20_000;

/** @type {ExecutionEvent[]} */
let shown = [];

/**
 * Show `events`; lines that are there already stay as they are, opened or not.
 * @param {readonly ExecutionEvent[]} events
 */
export function drawLog(events) {
  const log = byId("log");
  const isSame = shown.length <= events.length && shown.every((event, n) => event === events[n]);
  if (!isSame) log.replaceChildren();
  const from = isSame ? shown.length : 0;
  const lines = events.slice(from).map(line);
  filter(lines);
  stayingAtEnd(log, () => log.append(...lines));
  shown = [...events];
}

/** @param {ExecutionEvent} event */
function line(event) {
  const { data, timestamp } = /** @type {Envelope} */ (event);
  const about = data?.node_type ?? data?.reason ?? "";
  const summary = element(
    "summary",
    "",
    element("span", "faint", exactClock(moment(timestamp)) || "-"),
    element("span", "", asText(event.type)),
    element("span", "faint", asText(about)),
  );
  const text = JSON.stringify(event);
  const whole = element("pre");
  const details = element("details", "", summary, whole);
  details.addEventListener("toggle", () => {
    whole.textContent ||= text.length > INDENTED ? text : JSON.stringify(event, null, 2);
  });
  const item = element("li", "", details);
  item.dataset.text = text.toLowerCase();
  return item;
}

/** @param {Iterable<HTMLElement>} lines */
function filter(lines) {
  const wanted = field("filter").value.toLowerCase();
  for (const item of lines) item.hidden = !item.dataset.text?.includes(wanted);
}

async function copy() {
  const wanted = field("filter").value.toLowerCase();
  const chosen = shown.filter((event) => JSON.stringify(event).toLowerCase().includes(wanted));
  let text = `${chosen.length} events copied`;
  try {
    await navigator.clipboard.writeText(JSON.stringify(chosen, null, 2));
  } catch {
    text = "the browser does not allow it";
  }
  byId("copied").textContent = text;
  setTimeout(() => (byId("copied").textContent = ""), 3000);
}

const allLines = () => /** @type {Iterable<HTMLElement>} */ (byId("log").children);

byId("filter").addEventListener("input", () => filter(allLines()));
byId("copy").addEventListener("click", copy);
