// The events as they came, newest last, with a filter.

import { byId, exactClock, element, moment, shown as asText, stayingAtEnd } from "./dom.js";

// Characters of an event that is shown with one member a line. A long and deep one would grow a
// thousandfold by its indentation.
const LAID_OUT = 20_000;

let shown = [];

/** Show `events`; lines that are there already stay as they are, opened or not. */
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

function line(event) {
  const about = event.data?.node_type ?? event.data?.reason ?? "";
  const summary = element(
    "summary",
    "",
    element("span", "faint", exactClock(moment(event.timestamp)) || "-"),
    element("span", "", asText(event.type)),
    element("span", "faint", asText(about)),
  );
  const text = JSON.stringify(event);
  const whole = element("pre");
  const details = element("details", "", summary, whole);
  details.addEventListener("toggle", () => {
    whole.textContent ||= text.length > LAID_OUT ? text : JSON.stringify(event, null, 2);
  });
  const item = element("li", "", details);
  item.dataset.text = text.toLowerCase();
  return item;
}

function filter(lines) {
  const wanted = byId("filter").value.toLowerCase();
  for (const item of lines) item.hidden = !item.dataset.text.includes(wanted);
}

async function copy() {
  const wanted = byId("filter").value.toLowerCase();
  const chosen = shown.filter((event) => JSON.stringify(event).toLowerCase().includes(wanted));
  let words = `${chosen.length} events copied`;
  try {
    await navigator.clipboard.writeText(JSON.stringify(chosen, null, 2));
  } catch {
    words = "the browser does not allow it";
  }
  byId("copied").textContent = words;
  setTimeout(() => (byId("copied").textContent = ""), 3000);
}

byId("filter").addEventListener("input", () => filter(byId("log").children));
byId("copy").addEventListener("click", copy);
