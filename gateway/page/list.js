// The executions on the left: those of the development engine, and those that the user asked for.

import { byId, element, field, write } from "./dom.js";

/** @typedef {{ id: string, status: string, workflow_id?: string, completed_at?: string | null }} Listed */

const EVERY_MS = 2000;
const WATCHED = "watched-executions";

/** The status of each execution that the user asked for, by id.
 * @type {Map<string, string>} */
const watched = new Map(
  JSON.parse(sessionStorage.getItem(WATCHED) ?? "[]").map((/** @type {string} */ id) => [
    id,
    "watched",
  ]),
);
/** @type {Listed[]} */
let listed = [];
/** @type {string | null} */
let chosen = null;
let choose = (/** @type {string} */ _id) => {};
/** By id. Rows are kept: a button that is replaced between press and release is not clicked.
 * @type {Map<string, HTMLLIElement>} */
const rows = new Map();

/**
 * Show the list; `onChoose(id)` is called for the execution that the user chooses.
 * @param {{ isDev: boolean, onChoose: (id: string) => void }} options
 */
export function beginList({ isDev, onChoose }) {
  choose = onChoose;
  byId("watch").addEventListener("submit", (event) => {
    event.preventDefault();
    watch(field("watch-id").value);
    /** @type {HTMLFormElement} */ (byId("watch")).reset();
  });
  addEventListener("hashchange", () => open(idInAddress()));
  if (isDev) refresh();
  draw();
  if (idInAddress()) open(idInAddress());
}

// After a slash, so that an element of the page (`#chosen`) is no execution.
function idInAddress() {
  try {
    return decodeURIComponent(/^#\/(.*)$/.exec(location.hash)?.[1] ?? "");
  } catch {
    // A percent sign that encodes nothing.
    return "";
  }
}

/** @param {string} id */
function watch(id) {
  watched.set(id, "watched");
  sessionStorage.setItem(WATCHED, JSON.stringify([...watched.keys()]));
  goTo(id);
}

const goTo = (/** @type {string} */ id) => (location.hash = `/${encodeURIComponent(id)}`);

/**
 * Go to an execution that the engine has just started.
 * @param {string} id
 */
export function showStarted(id) {
  listed.unshift({ id, status: "running" });
  goTo(id);
}

/**
 * Whether the engine runs it, and takes orders for it.
 * @param {string} id
 */
export const isSimulated = (id) => listed.some((one) => one.id === id);

/** @param {string} id */
function open(id) {
  if (!id || id === chosen) return;
  chosen = id;
  if (!listed.some((one) => one.id === id) && !watched.has(id)) watched.set(id, "watched");
  draw();
  choose(id);
}

/**
 * Set the status of the chosen execution: its stream is newer than the list.
 * @param {string} id
 * @param {string} status
 */
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
    byId("list-problem").textContent = "";
    draw();
    if (!chosen && !idInAddress() && listed.length) open(newest());
  } catch {
    byId("list-problem").textContent = "The list is not up to date: the gateway does not answer.";
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
  const isSame = wanted.every((row, n) => row === list.children[n]);
  if (isSame && list.children.length === wanted.length) return;
  const focused = document.activeElement;
  list.replaceChildren(...wanted);
  if (focused instanceof HTMLElement && list.contains(focused)) focused.focus();
}

/** @param {string} id */
function rowOf(id) {
  const known = rows.get(id);
  if (known) return known;
  const parts = [element("span"), element("code", "", id), element("small")];
  const button = element("button", "", ...parts);
  button.type = "button";
  button.addEventListener("click", () => goTo(id));
  const row = element("li", "", button);
  rows.set(id, row);
  return row;
}

/**
 * @param {HTMLLIElement} row
 * @param {Listed} execution
 */
function fill(row, { id, status, workflow_id: workflow }) {
  const [button] = row.children;
  const [dot, , text] = button.children;
  dot.className = `dot ${status}`;
  write(text, [status, workflow].filter(Boolean).join(" · "));
  button.setAttribute("aria-current", String(id === chosen));
  return row;
}

// The arrow keys move through the list.
byId("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...byId("list").querySelectorAll("button")];
  const next = buttons[buttons.findIndex((one) => one === document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});
