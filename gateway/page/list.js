// The executions at the left: the engine's on a developer's machine, and those that were asked for.

import { byId, element, write } from "./dom.js";

const EVERY_MS = 2000;
const WATCHED = "watched-executions";

const watched = new Map(
  JSON.parse(sessionStorage.getItem(WATCHED) ?? "[]").map((id) => [id, "watched"]),
);
let listed = [];
let chosen = null;
let choose = () => {};
// By id. Kept and not made anew: a button that is replaced between press and release is not clicked.
const rows = new Map();

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

// After a slash, so that a place on the page (`#chosen`) is no execution.
function idInAddress() {
  try {
    return decodeURIComponent(/^#\/(.*)$/.exec(location.hash)?.[1] ?? "");
  } catch {
    // Somebody's own percent signs.
    return "";
  }
}

function watch(id) {
  watched.set(id, "watched");
  sessionStorage.setItem(WATCHED, JSON.stringify([...watched.keys()]));
  goTo(id);
}

const goTo = (id) => (location.hash = `/${encodeURIComponent(id)}`);

/** Go to an execution that the engine has just started. */
export function showStarted(id) {
  listed.unshift({ id, status: "running" });
  goTo(id);
}

/** Whether the engine plays it, and does as it is told. */
export const isSimulated = (id) => listed.some((one) => one.id === id);

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
    if (!chosen && !idInAddress() && listed.length) open(newest());
  } catch {
    byId("list-trouble").textContent = "The list is not up to date: the gateway does not answer.";
  }
  setTimeout(refresh, document.hidden ? EVERY_MS * 5 : EVERY_MS);
}

const newest = () => (listed.find((one) => !one.completed_at && one.id !== "demo") ?? listed[0]).id;

function draw() {
  const ids = new Set(listed.map((one) => one.id));
  const own = [...watched].filter(([id]) => !ids.has(id)).map(([id, status]) => ({ id, status }));
  const wanted = [...own, ...listed].map((one) => fill(rowOf(one.id), one));
  for (const [id, row] of rows) if (!wanted.includes(row)) rows.delete(id);
  const list = byId("list");
  if (list.children.length === wanted.length && wanted.every((row, n) => row === list.children[n]))
    return;
  const focused = document.activeElement;
  list.replaceChildren(...wanted);
  if (list.contains(focused)) focused.focus();
}

function rowOf(id) {
  if (!rows.has(id)) {
    const button = element(
      "button",
      "",
      element("span"),
      element("code", "", id),
      element("small"),
    );
    button.type = "button";
    button.addEventListener("click", () => goTo(id));
    rows.set(id, element("li", "", button));
  }
  return rows.get(id);
}

function fill(row, { id, status, workflow_id: workflow }) {
  const button = row.firstChild;
  const [dot, , words] = button.children;
  dot.className = `dot ${status}`;
  write(words, [status, workflow].filter(Boolean).join(" · "));
  button.setAttribute("aria-current", String(id === chosen));
  return row;
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
