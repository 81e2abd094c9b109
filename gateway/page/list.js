// The executions at the left: the engine's on a developer's machine, and those that were asked for.

import { byId, element } from "./dom.js";

const EVERY_MS = 2000;
const WATCHED = "watched-executions";

const watched = new Map(JSON.parse(sessionStorage.getItem(WATCHED) ?? "[]").map((id) => [id, "watched"]));
let listed = [];
let chosen = null;
let choose = () => {};

/** Show the list; `onChoose(id)` is called for the one that is chosen. */
export function beginList({ isDev, onChoose }) {
  choose = onChoose;
  byId("watch").addEventListener("submit", (event) => {
    event.preventDefault();
    watch(byId("watch-id").value);
    byId("watch").reset();
  });
  addEventListener("hashchange", () => open(idInAddress()));
  if (isDev) refresh();
  draw();
  if (idInAddress()) open(idInAddress());
}

const idInAddress = () => decodeURIComponent(location.hash.slice(1));

function watch(id) {
  watched.set(id, "watched");
  sessionStorage.setItem(WATCHED, JSON.stringify([...watched.keys()]));
  location.hash = encodeURIComponent(id);
}

/** Go to an execution that has just been started. */
export const goTo = (id) => (location.hash = encodeURIComponent(id));

function open(id) {
  if (!id || id === chosen) return;
  chosen = id;
  if (!listed.some((one) => one.id === id) && !watched.has(id)) watched.set(id, "watched");
  draw();
  choose(id);
}

/** What the stream of the chosen one says is newer than any list. */
export function showStatus(id, status) {
  if (watched.has(id)) watched.set(id, status);
  for (const one of listed) if (one.id === id) one.status = status;
  draw();
}

async function refresh() {
  try {
    const response = await fetch("/dev/executions", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    listed = await response.json();
    byId("list-trouble").textContent = "";
    draw();
    if (!chosen && !location.hash && listed.length) open(newest());
  } catch {
    byId("list-trouble").textContent = "The list is not up to date: the gateway does not answer.";
  }
  setTimeout(refresh, document.hidden ? EVERY_MS * 5 : EVERY_MS);
}

const newest = () => (listed.find((one) => !one.completed_at && one.id !== "demo") ?? listed[0]).id;

function draw() {
  const ids = new Set(listed.map((one) => one.id));
  const own = [...watched].filter(([id]) => !ids.has(id)).map(([id, status]) => ({ id, status }));
  const focused = document.activeElement?.dataset?.id;
  byId("list").replaceChildren(...[...own, ...listed].map(row));
  if (focused) byId("list").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

function row({ id, status, workflow_id: workflow }) {
  const button = element("button", "", element("span", `dot ${status}`), element("code", "", id));
  button.append(element("small", "", [status, workflow].filter(Boolean).join(" · ")));
  button.type = "button";
  button.dataset.id = id;
  button.setAttribute("aria-current", String(id === chosen));
  button.addEventListener("click", () => goTo(id));
  return element("li", "", button);
}

// Up and down through the list, as one expects of one.
byId("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...byId("list").querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});
