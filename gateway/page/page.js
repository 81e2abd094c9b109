// Executions, live: which one is chosen, its stream, and what is drawn of it and when.

import { subscribeToExecution } from "/api/v1/sse/client/index.js";
import { byId, clock, element, lasted, moment, shown, write } from "./dom.js";
import { beginList, isSimulated, showStarted, showStatus } from "./list.js";
import { drawLog } from "./log.js";
import { begin, signOut } from "./session.js";
import { drawTimeline } from "./timeline.js";

// Bars grow between events too.
const EVERY_MS = 250;

const WORDS = {
  connecting: "connecting",
  live: "live",
  "catching-up": "catching up",
  polling: "polling: no stream can be had",
  paused: "live, paused",
  completed: "completed",
  failed: "failed",
};

const session = await begin();
let subscription = null;
let isDrawingSoon = false;

function follow(id) {
  subscription?.close();
  const mine = (subscription = subscribeToExecution(id, {
    getToken: session.getToken,
    organizationId: session.organizationId,
  }));
  mine.watch(() => mine === subscription && drawSoon());
  byId("none").hidden = true;
  byId("run").hidden = false;
  byId("chosen-title").textContent = id;
  byId("filter").value = "";
  draw();
}

// Once a frame: a burst of events would else draw all of the run for each of them.
function drawSoon() {
  if (isDrawingSoon) return;
  isDrawingSoon = true;
  requestAnimationFrame(() => {
    isDrawingSoon = false;
    draw();
  });
}

function draw() {
  const { run, events, executionId } = subscription;
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
  if (["running", "paused"].includes(subscription.run.status))
    drawTimeline(subscription.run, Date.now());
  showConnection();
}

// What came of it: how long it took, what it waits for, what went wrong, where the result is.
function outcome(run) {
  const parts = [];
  if (run.duration_ms !== null) parts.push(`It took ${lasted(run.duration_ms)}. `);
  if (run.status === "paused") parts.push(element("span", "waiting", waitsFor(run)));
  if (run.error_message) parts.push(element("span", "trouble", shown(run.error_message)));
  if (run.generated_document_id) parts.push(result(run));
  return parts;
}

function waitsFor(run) {
  const { data, timestamp } = run.events.findLast((event) => event.type === "execution:paused");
  return `Waits for ${shown(data?.reason ?? "somebody")}, since ${clock(moment(timestamp))}.`;
}

function result(run) {
  const made = run.execution_logs
    .map((step) => step.output)
    .findLast((output) => isWeb(output?.file_url));
  const words = `Result: ${shown(run.generated_document_id)}`;
  if (!made) return words;
  const link = element("a", "", words);
  link.href = made.file_url;
  link.rel = "noopener noreferrer";
  link.target = "_blank";
  return link;
}

// A link that a producer has sent leads to the web, or nowhere.
const isWeb = (url) => typeof url === "string" && /^https?:\/\//i.test(url);

function showConnection() {
  const status = subscription?.status ?? "connecting";
  let words = subscription ? WORDS[status] : "no execution is chosen";
  if (status === "reconnecting") {
    const left = Math.ceil((subscription.nextTryAt - Date.now()) / 1000);
    words = left > 0 ? `reconnecting in ${left} s` : "reconnecting";
  }
  if (status === "closed") words = subscription.error?.message ?? "closed";
  if (subscription?.error?.status === 401 && !session.isDev) signOut();
  write(byId("connection-words"), words);
  byId("connection").dataset.status = status;
}

// Tell the engine something; null where it did not take it, which is said.
async function order(path, body) {
  let trouble = "";
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const document = await response.json();
    if (response.ok) return document;
    trouble = document.message;
  } catch {
    trouble = "The gateway does not answer: try again.";
  } finally {
    byId("order-trouble").textContent = trouble;
  }
  return null;
}

byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const started = await order("/dev/executions", { ending: byId("ending").value });
  if (started) showStarted(started.id);
});
for (const what of ["pause", "approve"]) {
  byId(what).addEventListener("click", () =>
    order(`/dev/executions/${encodeURIComponent(subscription.executionId)}/${what}`, {}),
  );
}

byId("main").hidden = false;
byId("start").hidden = !session.isDev;
byId("sign-out").hidden = session.isDev;
byId("sign-out").addEventListener("click", signOut);
beginList({ isDev: session.isDev, onChoose: follow });
showConnection();
setInterval(tick, EVERY_MS);
