// Executions, live: which one is chosen, its stream, and what is drawn of it and when.

import { Refused, subscribeToExecution } from "/api/v1/sse/client/executions.js";
import { beginArrivals, noteArrival } from "./arrival.js";
import { besideState, drawBeside } from "./beside.js";
import { byId, fillTexts, shortly, write } from "./dom.js";
import { beginList, draw as drawList, showStatus } from "./list.js";
import { drawLog, showAll } from "./log.js";
import { beginOrders, showOrders } from "./orders.js";
import { drawOutcome, drawTimes } from "./outcome.js";
import { isHere, listState } from "./runs.js";
import { begin, signOut } from "./session.js";
import { html, problemOf, TEXTS } from "./texts.js";
import { drawTimeline } from "./timeline.js";
import { beginTrials, showTrial } from "./trials.js";
import { beginZoom } from "./zoom.js";

/** @import { Subscription } from "/api/v1/sse/client/executions.js" */

// Bars grow between events too.
const EVERY_MS = 250;

fillTexts(html);
const session = await begin();
/** @type {Subscription | null} */
let subscription = null;
let ticks = 0;
// Until when this page knows what happens, in milliseconds since 1970.
let knownUntil = Date.now();

/** @param {string} id empty: none */
function follow(id) {
  subscription?.close();
  subscription = null;
  byId("none").hidden = id !== "";
  byId("run").hidden = !id;
  byId("run").dataset.execution = id;
  showAll();
  if (!id) return;
  knownUntil = Date.now();
  beginArrivals();
  const own = subscribeToExecution(id, {
    getToken: session.getToken,
    organizationId: session.organizationId,
    onEvent: (event) => {
      if (own.connection === "live" && "timestamp" in event) noteArrival(event);
    },
  });
  subscription = own;
  own.watch(() => own === subscription && drawSoon(true));
  draw(own);
}

let isSoon = false;
let isChanged = false;

/** Once a frame: else a burst of events would draw the whole run for each of them, and a tick would do it
 * again. With `changed`, more than the time has changed.
 * @param {boolean} changed */
function drawSoon(changed) {
  isChanged ||= changed;
  if (isSoon) return;
  isSoon = true;
  requestAnimationFrame(() => {
    const own = isChanged && subscription;
    isSoon = isChanged = false;
    if (own) draw(own);
    else tick();
  });
}

/** @param {Subscription} subscription */
function draw(subscription) {
  const { run, executionId, connection } = subscription;
  showStatus(executionId, run.status);
  showOrders(executionId, run.status);
  drawBars();
  const bytes = drawLog(eventsOf(subscription), connection === "live");
  drawOutcome(run, bytes, knownUntil, nothingOf(subscription));
  showTrial(subscription);
  showConnection();
}

/** Of a run whose end this page saw before, no stream brings the events again.
 * @param {Subscription} subscription */
const eventsOf = ({ run, events }) => (events.length ? events : run.events);

/** Why there is no event: it has not begun, or a refusal, after which the client tries again. Nobody knows
 * before the gateway answers. The last refusal is said beside the connection.
 * @param {Subscription} subscription */
function nothingOf({ connection, error }) {
  if (isHere(connection)) return TEXTS.run.nothingYet;
  return error instanceof Refused && connection !== "closed" ? problemOf(error) : "";
}

function tick() {
  if (++ticks % 4 === 0) {
    drawList();
    drawBeside();
  }
  showConnection();
  if (!subscription) return;
  const { run } = subscription;
  if (["running", "paused"].includes(run.status)) drawBars();
  drawTimes(run, knownUntil);
}

// While nothing arrives, nobody knows whether a step still runs: its bar stands still.
function drawBars() {
  if (!subscription) return;
  const { run, connection } = subscription;
  const isKnown = isHere(connection);
  if (isKnown) knownUntil = Date.now();
  byId("run").classList.toggle("stale", !isKnown);
  drawTimeline(run, eventsOf(subscription), knownUntil, isKnown);
}

/** The connection of the run in focus, or else of those side by side. */
const followed = () => subscription ?? besideState();

// The end of a run closes the connection too.
const isRefused = () =>
  subscription
    ? subscription.status === "closed"
    : besideState()?.connection === "closed" && besideState()?.error;

function showConnection() {
  for (const one of [subscription, listState(), besideState()]) {
    const error = one?.error;
    if (error instanceof Refused && error.status === 401 && !session.isDev) {
      signOut(problemOf(error));
    }
  }
  write(byId("connection-words"), connectionWords());
  const state = isRefused() ? "refused" : followed()?.connection;
  byId("connection").dataset.status = state ?? "none";
}

function connectionWords() {
  const one = followed();
  if (!one) return TEXTS.noneChosen;
  const { connection, nextTryAt, error } = one;
  if (isRefused()) return error ? problemOf(error) : TEXTS.closed;
  if (error?.code === "redis") return problemOf(error);
  const left = nextTryAt === null ? 0 : Math.ceil((nextTryAt - Date.now()) / 1000);
  return connection === "reconnecting" && left > 0
    ? TEXTS.reconnectingIn(shortly(1000 * left))
    : TEXTS.connections[connection];
}

byId("main").hidden = false;
byId("sign-out").hidden = session.isDev;
byId("sign-out").addEventListener("click", () => signOut());
if (session.hasEngine) beginOrders(() => subscription?.executionId);
else byId("watch").querySelector("button")?.classList.add("primary");
if (session.isDev) beginTrials(() => subscription);
beginZoom(drawBars);
beginList(session, follow);
showConnection();
setInterval(() => drawSoon(false), EVERY_MS);
