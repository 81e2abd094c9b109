// The executions on the left, their filter, and which of them is chosen.

import { goTo as setPlace, placeInAddress } from "./address.js";
import { compareClocks, exactNow } from "./arrival.js";
import { besideIds, showBeside, toggled } from "./beside.js";
import { byId, element, field, write } from "./dom.js";
import { beginRows, drawRows, watchers } from "./list_rows.js";
import * as runs from "./runs.js";
import { isKept } from "./session.js";
import { problemOf, TEXTS } from "./texts.js";

export { named } from "./list_rows.js";
export { find as known } from "./runs.js";

/** @import { Listed } from "./runs.js" */
/** @import { Session } from "./session.js" */

const EVERY_MS = 1000;
const DEMO = "demo";
const MOST_NAMES = 100;
// A run that has ended is followed for so many milliseconds more.
const DWELL_MS = 2500;

let chosen = "";
/** When the chosen one was seen to have ended. */
let endedAt = Infinity;
/** The gateway that has answered last.
 * @type {string | null} */
let instance = null;
let choose = (/** @type {string} */ _id) => {};
/** @type {Session} */
let session;
/** What the list is narrowed to. */
let filtered = "";
/** Names that the list can be narrowed to.
 * @type {Set<string>} */
const workflows = new Set();
const follow = /** @type {HTMLInputElement} */ (byId("follow"));

/**
 * Show the list; `onChoose(id)` is called for the execution that the user chooses, with an empty id
 * where none is chosen any more.
 * @param {Session} own
 * @param {(id: string) => void} onChoose
 */
export function beginList(own, onChoose) {
  session = own;
  const { isDev } = session;
  choose = onChoose;
  beginRows({ goTo, toggle, chosen: () => chosen, beside: besideIds });
  byId("watch").addEventListener("submit", (event) => {
    event.preventDefault();
    watch(field("watch-id").value);
    /** @type {HTMLFormElement} */ (byId("watch")).reset();
  });
  addEventListener("popstate", openAddress);
  follow.addEventListener("change", () => {
    endedAt = 0;
    followNewest();
    remember();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("change", () => {
    filter();
    remember();
  });
  follow.checked = isDev;
  byId("following").hidden = !isDev;
  if (!isDev) write(byId("empty-words"), TEXTS.list.none);
  openAddress();
  if (isDev) refresh();
}

const wanted = () => ({
  status: field("status-filter").value,
  workflow: field("workflow-filter").value.trim(),
});

function filter() {
  if (filtered !== (filtered = JSON.stringify(wanted()))) runs.followList(session, wanted(), draw);
  draw();
}

function openAddress() {
  const { id, status, workflow, runs: beside } = placeInAddress();
  field("status-filter").value = status;
  field("workflow-filter").value = workflow;
  filter();
  showBeside(session, beside);
  if (id) follow.checked = false;
  // An element of the page (`#chosen`) is no place of its own.
  if (id || (!follow.checked && !location.hash)) open(id);
}

/** The address says what is shown; what is followed is not the user's choice. */
const remember = () =>
  setPlace({ ...wanted(), id: follow.checked ? "" : chosen, runs: besideIds() });

/** @param {string} id */
function toggle(id) {
  showBeside(session, toggled(id));
  remember();
  draw();
}

/** @param {string} id */
function watch(id) {
  runs.keep(id);
  goTo(id);
}

/** @param {string} id */
function goTo(id) {
  follow.checked = false;
  open(id);
  remember();
}

/**
 * Go to an execution that the engine has just started.
 * @param {{ id: string, workflow_id: string }} started
 */
export function showStarted({ id, workflow_id }) {
  const started = { id, workflow_id, status: "pending", simulated: true };
  if (!runs.find(id)) runs.setHeard([started, ...runs.allHeard()]);
  goTo(id);
}

/**
 * Whether the engine runs it, and takes orders for it.
 * @param {string} id
 */
export const isSimulated = (id) => runs.find(id)?.simulated ?? false;

/** @param {string} id */
function open(id) {
  if (id === chosen) return;
  chosen = id;
  endedAt = Infinity;
  if (id) runs.ask(id);
  draw();
  choose(id);
}

/**
 * Set the status of the chosen execution: its stream is newer than the list.
 * @param {string} id
 * @param {string} status
 */
export function showStatus(id, status) {
  runs.setStatus(id, status);
  const isOver = !["pending", "running", "paused", "unknown"].includes(status);
  if (isOver && id === chosen) endedAt = Math.min(endedAt, Date.now());
  draw();
}

/**
 * Say whether the gateway answers, and with `problem` what it refuses.
 * @param {boolean} isReachable
 * @param {string} [problem]
 */
export function setReachable(isReachable, problem) {
  if (!isReachable) write(byId("list-problem"), TEXTS.list.away);
  else if (problem !== undefined) write(byId("list-problem"), problem);
  else if (saysAway()) write(byId("list-problem"), "");
  drawState();
}

const saysAway = () => byId("list-problem").textContent === TEXTS.list.away;

async function refresh() {
  try {
    const from = exactNow();
    const response = await fetch("/dev/executions", { signal: AbortSignal.timeout(5000) });
    const to = exactNow();
    if (!response.ok) throw new Error(`status ${response.status}`);
    const answer = await response.json();
    if (instance !== null && instance !== answer.instance) return startAgain();
    compareClocks(answer.now, from, to);
    take(answer);
    setReachable(true);
  } catch {
    setReachable(false);
  }
  setTimeout(refresh, document.hidden ? EVERY_MS * 5 : EVERY_MS);
}

/** @param {{ instance: string, executions: Listed[] }} answer */
function take({ instance: answering, executions }) {
  const begun = executions.some((one) => one.id === chosen);
  // One that was started a moment ago has had no event yet.
  const isWaiting = (/** @type {Listed} */ one) => one.id === chosen && one.status === "pending";
  const waiting = runs.allHeard().filter((one) => isWaiting(one) && !begun);
  instance = answering;
  runs.setHeard([...waiting, ...executions]);
  draw();
  followNewest();
}

/** The gateway was started again, perhaps with another Redis, other options or another page. */
async function startAgain() {
  const status = runs.statusOf(chosen);
  // One that has not begun is still awaited.
  if (status !== "pending" && !(chosen && (await isKept(session, chosen)))) {
    runs.forgetKept();
    history.replaceState(null, "", location.pathname);
  }
  location.reload();
}

/** Go to the newest execution, if the user wants that: at once to one that is not simulated, also
 * if simulated ones have begun since; else when the one that is shown has ended. */
function followNewest() {
  const listed = runs.allHeard();
  if (!follow.checked || listed.length === 0) return;
  const own = listed.find((one) => !one.simulated);
  if (own) open(own.id);
  else if (!listed.some((one) => one.id === chosen) || Date.now() - endedAt > DWELL_MS) {
    open((listed.find((one) => !one.completed_at && one.id !== DEMO) ?? listed[0]).id);
  }
}

/** Draw the list again; ages and durations grow. */
export function draw() {
  const listed = runs.shownRuns();
  drawRows(listed);
  suggest(listed);
  write(byId("watching"), watchers(runs.find(chosen)));
  drawState();
}

/** Say how the list arrives, where it is not live, and why there is nothing in it. */
function drawState() {
  const isEmpty = runs.isEmpty();
  byId("empty").hidden = !isEmpty || runs.isFiltered();
  byId("unchosen").hidden = !byId("empty").hidden;
  const { error, connection } = runs.listState() ?? {};
  const away = saysAway() ? "" : TEXTS.list.away;
  byId("list-state").classList.toggle("problem", connection === "closed");
  if (connection === "closed") write(byId("list-state"), error ? problemOf(error) : "");
  else if (connection === "polling") write(byId("list-state"), TEXTS.list.polling);
  else if (error?.code === "redis") write(byId("list-state"), problemOf(error));
  else if (connection === "reconnecting") write(byId("list-state"), away);
  else write(byId("list-state"), isEmpty && runs.isFiltered() ? TEXTS.list.filtered : "");
}

/** Offer the workflows that the list has shown.
 * @param {Listed[]} listed */
function suggest(listed) {
  for (const { workflow_id: name } of listed) {
    if (!name || workflows.has(name) || workflows.size === MOST_NAMES) continue;
    workflows.add(name);
    const option = element("option");
    option.value = name;
    byId("workflows").append(option);
  }
}
