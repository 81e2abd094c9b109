// The events as they came, newest last, with a filter.

import { byId, clock, element, moment } from "./dom.js";

let shown = [];

/** Show `events`; lines that are there already stay as they are, opened or not. */
export function drawLog(events) {
  const log = byId("log");
  const isSame = shown.length <= events.length && shown.every((event, n) => event === events[n]);
  if (!isSame) log.replaceChildren();
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const from = isSame ? shown.length : 0;
  for (const event of events.slice(from)) log.append(line(event));
  shown = [...events];
  filter();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function line(event) {
  const about = event.data?.node_type ?? event.data?.reason ?? "";
  const summary = element(
    "summary",
    "",
    element("span", "faint", clock(moment(event.timestamp), 3) || "-"),
    element("span", "", event.type),
    element("span", "faint", String(about)),
  );
  const item = element("li", "", element("details", "", summary, element("pre", "", JSON.stringify(event, null, 2))));
  item.dataset.text = JSON.stringify(event).toLowerCase();
  return item;
}

function filter() {
  const wanted = byId("filter").value.toLowerCase();
  for (const item of byId("log").children) item.hidden = !item.dataset.text.includes(wanted);
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

byId("filter").addEventListener("input", filter);
byId("copy").addEventListener("click", copy);
