// Which runs there are: those of the organization, live from its list; in development also all that
// the gateway hears; and everywhere those that the user asked for.

import { subscribeToExecutions } from "/api/v1/sse/client/executions.js";

/** @import { ExecutionSummary, ListSubscription } from "/api/v1/sse/client/executions.js" */
/** @import { Session } from "./session.js" */

/** @typedef {{ id: string, status: string, workflow_id?: string | null, started_at?: string | null,
 *   completed_at?: string | null, duration_ms?: number | null, steps_completed?: number | null,
 *   updated_at?: string | null, watching?: number | null, events?: number,
 *   simulated?: boolean }} Listed */

const WATCHED = "watched-executions";

/** The status of each execution that the user asked for, by id.
 * @type {Map<string, string>} */
const watched = new Map(
  JSON.parse(sessionStorage.getItem(WATCHED) ?? "[]").map((/** @type {string} */ id) => [
    id,
    "pending",
  ]),
);
/** What the gateway of `dev` hears, newest first.
 * @type {Listed[]} */
let heard = [];
/** The organization's.
 * @type {ListSubscription | null} */
let list = null;
/** Those of it, by id.
 * @type {Map<string, ExecutionSummary>} */
let summaries = new Map();
/** What the list said last of the run that is shown, which the filter may leave out.
 * @type {ExecutionSummary | null} */
let held = null;
let shown = "";
/** Statuses, comma-separated; and the name of a workflow. Empty: all. */
let wanted = { status: "", workflow: "" };

/**
 * Follow the organization's list, with this filter from now on.
 * @param {Session} session
 * @param {{ status: string, workflow: string }} filter
 * @param {() => void} changed
 */
export function followList({ getToken, organizationId }, filter, changed) {
  wanted = filter;
  list?.close();
  const own = subscribeToExecutions({
    getToken,
    organizationId,
    status: /** @type {any} */ (filter.status || undefined),
    workflowId: filter.workflow || undefined,
    throttleMs: 100,
  });
  list = own;
  summaries = new Map();
  own.subscribe(({ executions }) => {
    if (own !== list) return;
    summaries = new Map(executions?.map((one) => [one.execution_id, one]));
    hold();
    changed();
  });
}

// How many watch is not known any more once it is left out.
function hold() {
  const one = summaries.get(shown) ?? (held?.execution_id === shown ? held : null);
  held = one && { ...one, watching: null };
}

/** Whether what happens arrives, in this state of a connection.
 * @param {string} connection */
export const isHere = (connection) => ["live", "catching-up", "polling"].includes(connection);

/** How the list arrives. */
export const listState = () => list;

/** @param {Listed[]} executions */
export function setHeard(executions) {
  heard = executions;
}

/** What the gateway of `dev` hears, newest first, whatever is filtered. */
export const allHeard = () => heard;

/** Nothing is listed, for sure. */
export const isEmpty = () =>
  heard.length === 0 && summaries.size === 0 && (list?.executions ?? null) !== null;

export const isFiltered = () => wanted.status !== "" || wanted.workflow !== "";

/** An execution that is shown: it has a row, also where nothing lists it.
 * @param {string} id */
export function ask(id) {
  shown = id;
  hold();
  if (!find(id) && !watched.has(id)) watched.set(id, "pending");
}

/** An execution that the user asked for: it is there after a reload too.
 * @param {string} id */
export function keep(id) {
  watched.set(id, "pending");
  sessionStorage.setItem(WATCHED, JSON.stringify([...watched.keys()]));
}

export const forgetKept = () => sessionStorage.removeItem(WATCHED);

/**
 * What is known of the execution, apart from its own stream.
 * @param {string | null} id
 * @returns {Listed | undefined}
 */
export function find(id) {
  const one = heard.find((other) => other.id === id);
  const summary = summaries.get(id ?? "") ?? (held?.execution_id === id ? held : null);
  return summary ? { ...one, ...summary, id: summary.execution_id } : one;
}

/** Its status as its own stream says: that is newer than a list.
 * @param {string} id
 * @param {string} status */
export function setStatus(id, status) {
  if (watched.has(id)) watched.set(id, status);
  const one = heard.find((other) => other.id === id);
  // It has not read its first event: the list knows more.
  if (one && status !== "pending") one.status = status;
}

/** @param {string} id */
export const statusOf = (id) => find(id)?.status ?? watched.get(id);

/** Those that are shown, in their order. */
export function shownRuns() {
  const listed = new Set([...heard.map(({ id }) => id), ...summaries.keys()]);
  const own = [...watched.keys()].filter((id) => !listed.has(id));
  return [...own, ...listed].map(known).filter(isWanted);
}

/** @param {string} id
 * @returns {Listed} */
const known = (id) => find(id) ?? { id, status: watched.get(id) ?? "pending" };

/** @param {Listed} one */
function isWanted({ status, workflow_id: workflow }) {
  if (wanted.workflow && workflow !== wanted.workflow) return false;
  return wanted.status === "" || wanted.status.split(",").includes(status);
}
