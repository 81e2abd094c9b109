// Executions, live: which one is chosen, its stream, and what is drawn of it and when.

import { Refused, subscribeToExecution } from "/api/v1/sse/client/index.js";
import { byId, clock, element, field, lasted, moment, shown, write } from "./dom.js";
import { beginList, isSimulated, showStarted, showStatus } from "./list.js";
import { drawLog } from "./log.js";
import { begin, signOut } from "./session.js";
import { drawTimeline } from "./timeline.js";

/** @import { ExecutionPaused, Run, Subscription } from "/api/v1/sse/client/index.js" */

// Bars grow between events too.
const EVERY_MS = 250;

const WORDS = {
  connecting: "connecting",
  live: "live",
  "catching-up": "catching up",
  reconnecting: "reconnecting",
  polling: "polling: no stream can be had",
  closed: "closed: the run has ended",
};

const session = await begin();
/** @type {Subscription | null} */
let subscription = null;
let isDrawingSoon = false;

/** @param {string} id */
function follow(id) {
  subscription?.close();
  const own = subscribeToExecution(id, {
    getToken: session.getToken,
    organizationId: session.organizationId,
  });
  subscription = own;
  own.watch(() => own === subscription && drawSoon());
  byId("none").hidden = true;
  byId("run").hidden = false;
  byId("chosen-title").textContent = id;
  field("filter").value = "";
  draw(own);
}

// Once a frame: else a burst of events would draw the whole run for each of them.
function drawSoon() {
  if (isDrawingSoon) return;
  isDrawingSoon = true;
  requestAnimationFrame(() => {
    isDrawingSoon = false;
    if (subscription) draw(subscription);
  });
}

/** @param {Subscription} subscription */
function draw({ run, events, executionId }) {
  byId("status").textContent = run.status;
  byId("status").className = run.status;
  byId("outcome").replaceChildren(...outcome(run));
  byId("pause").hidden = !isSimulated(executionId) || run.status !== "running";
  byId("approve").hidden = !isSimulated(executionId) || run.status !== "paused";
  drawTimeline(run, Date.now());
  drawLog(events);
  showStatus(executionId, run.status);
  showConnection();
}

function tick() {
  if (!subscription) return;
  const { run } = subscription;
  if (["running", "paused"].includes(run.status)) drawTimeline(run, Date.now());
  showConnection();
}

/** How long it took, what it waits for, what went wrong, and where the result is.
 * @param {Run} run */
function outcome(run) {
  const parts = [];
  if (run.duration_ms !== null) parts.push(`It took ${lasted(run.duration_ms)}. `);
  if (run.status === "ended") parts.push(element("span", "waiting", "Nothing says how it ended. "));
  if (run.status === "unknown") parts.push(element("span", "waiting", "Its history is lost. "));
  if (run.complete === false) parts.push(element("span", "waiting", missing(run)));
  if (run.status === "paused") parts.push(element("span", "waiting", waitsFor(run)));
  if (run.error_message) parts.push(element("span", "problem", shown(run.error_message)));
  if (run.generated_document_id) parts.push(result(run));
  return parts;
}

/** @param {Run} run */
const missing = ({ events_missing: count }) =>
  `This is a part of the run: ${count} events are no longer kept. `;

/** @param {Run} run */
function waitsFor(run) {
  const paused = run.events.findLast((event) => event.type === "execution:paused");
  const { data, timestamp } = /** @type {Partial<ExecutionPaused>} */ (paused);
  const since = clock(moment(timestamp));
  return `Waits for ${shown(data?.reason ?? "somebody")}${since && `, since ${since}`}.`;
}

/** @param {Run} run */
function result(run) {
  const urls = run.execution_logs.map(
    ({ output }) => /** @type {{ file_url?: unknown } | null} */ (output)?.file_url,
  );
  const url = urls.findLast(isWeb);
  const text = `Result: ${shown(run.generated_document_id)}`;
  if (url === undefined) return text;
  const link = element("a", "", text);
  link.href = url;
  link.rel = "noopener noreferrer";
  link.target = "_blank";
  return link;
}

/** A link that a producer has sent must lead to the web.
 * @param {unknown} url
 * @returns {url is string} */
const isWeb = (url) => typeof url === "string" && /^https?:\/\//i.test(url);

function showConnection() {
  const { connection, status, error } = subscription ?? {};
  if (error instanceof Refused && error.status === 401 && !session.isDev) signOut();
  write(byId("connection-words"), connectionWords());
  // The end of a run closes the connection too, with another status.
  const state = status === "closed" ? "refused" : connection;
  byId("connection").dataset.status = state ?? "connecting";
}

function connectionWords() {
  if (!subscription) return "no execution is chosen";
  const { connection, status, nextTryAt, error } = subscription;
  if (status === "closed") return error?.message ?? "closed";
  const left = nextTryAt === null ? 0 : Math.ceil((nextTryAt - Date.now()) / 1000);
  return connection === "reconnecting" && left > 0
    ? `reconnecting in ${left} s`
    : WORDS[connection];
}

/** Send an order to the engine. Returns its answer; null if it refused, and then the page shows why.
 * @param {string} path
 * @param {object} body */
async function order(path, body) {
  let problem = "";
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const document = await response.json();
    if (response.ok) return document;
    problem = document.message;
  } catch {
    problem = "The gateway does not answer: try again.";
  } finally {
    byId("order-problem").textContent = problem;
  }
  return null;
}

byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const started = await order("/dev/executions", { ending: field("ending").value });
  if (started) showStarted(started.id);
});
for (const action of ["pause", "approve"]) {
  byId(action).addEventListener("click", () => {
    if (!subscription) return;
    order(`/dev/executions/${encodeURIComponent(subscription.executionId)}/${action}`, {});
  });
}

byId("main").hidden = false;
byId("start").hidden = !session.isDev;
byId("sign-out").hidden = session.isDev;
byId("sign-out").addEventListener("click", signOut);
beginList({ isDev: session.isDev, onChoose: follow });
showConnection();
setInterval(tick, EVERY_MS);
