// What `sse-gateway dev` can break on purpose, and what became of the events: how many there were before,
// while it was away, and since; and that none is missing, and none came twice.

import { describePage } from "./arrival.js";
import { byId, clock, element, lasted, write } from "./dom.js";
import { isSimulated } from "./list.js";
import { order } from "./orders.js";
import { number } from "./language.js";
import { TEXTS, textOf } from "./texts.js";

/** @import { ExecutionEvent, Subscription } from "/api/v1/sse/client/executions.js" */
/** `awayAt`, `backAt`: milliseconds since 1970. `first`: how many entries `events` had.
 * @typedef {{ what: string, id: string, at: number, first: number, before: number, during: number,
 *   awayAt: number, backAt: number, isDone: boolean }} Trial */

const EVERY_MS = 500;

/** @type {Trial | null} */
let trial = null;
/** What the engine says that it has published, by execution.
 * @type {Record<string, number>} */
let published = {};
/** @type {() => Subscription | null} */
let chosen = () => null;

/** Show a button for each thing that can be broken, for the execution that `subscription` returns.
 * @param {() => Subscription | null} subscription */
export async function beginTrials(subscription) {
  chosen = subscription;
  const { restarts } = await (await fetch("/dev/session")).json();
  for (const what of ["cut", ...restarts]) {
    const button = element("button", "", textOf(TEXTS.trials.buttons, what));
    button.addEventListener("click", () => begin(what));
    byId("trial-buttons").append(button);
  }
  byId("trials").hidden = false;
  setInterval(countPublished, EVERY_MS);
}

/** @param {string} what */
async function begin(what) {
  const subscription = chosen();
  if (!subscription) return;
  const { executionId: id, events } = subscription;
  const own = { what, id, at: Date.now(), first: events.length, before: 0, during: 0 };
  trial = { ...own, awayAt: NaN, backAt: NaN, isDone: false };
  const mine = trial;
  // The stream stays while Redis is away: its own absence is what is measured.
  if (what.startsWith("redis")) goAway(mine, events);
  showTrial(subscription);
  if (what === "cut") await order(`/dev/executions/${encodeURIComponent(id)}/cut`, {});
  else await order("/dev/restart", { what });
  mine.isDone = true;
  if (chosen() === subscription) showTrial(subscription);
}

/** @param {Trial} own
 * @param {readonly ExecutionEvent[]} events */
function goAway(own, events) {
  own.awayAt = Date.now();
  own.before = real(events).length;
}

/** Without what the client says of its stream. */
const real = (/** @type {readonly ExecutionEvent[]} */ events) =>
  events.filter(({ type }) => !type.startsWith("stream:"));

async function countPublished() {
  if (!trial || document.hidden) return;
  try {
    published = await (await fetch("/dev/published")).json();
  } catch {
    // The gateway is being restarted.
  }
  const subscription = chosen();
  if (subscription) showTrial(subscription);
}

/** Show what has become of the events so far.
 * @param {Subscription} subscription */
export function showTrial(subscription) {
  const { executionId, events } = subscription;
  const own = trial?.id === executionId ? trial : null;
  byId("trial").hidden = !own;
  if (!own) return;
  advance(own, subscription);
  const here = real(events).length;
  const isAway = !Number.isNaN(own.awayAt);
  const isBack = !Number.isNaN(own.backAt);
  const before = isAway ? own.before : here;
  const during = isBack ? own.during : here - before;
  const count = isSimulated(own.id) ? published[own.id] : undefined;
  const { text, state } = isBack ? verdict(own, events, count) : AWAY;
  write(byId("trial-title"), `${textOf(TEXTS.trials.buttons, own.what)}, ${clock(own.at)}`);
  write(byId("trial-verdict"), text);
  byId("trial-verdict").className = state;
  write(byId("trial-before"), number(before));
  write(byId("trial-away-name"), TEXTS.trials.away(isBack ? lasted(own.backAt - own.awayAt) : ""));
  write(byId("trial-away"), number(during));
  write(byId("trial-since"), number(here - before - during));
  // It was asked a moment ago, and what is here has been published.
  const all = count === undefined ? "–" : number(Math.max(count, here));
  write(byId("trial-here"), `${all} · ${number(here)}`);
  write(byId("trial-arrival"), `${TEXTS.trials.arrival}: ${describePage()}`);
}

/** @param {Trial} own
 * @param {Subscription} subscription */
function advance(own, { events, connection }) {
  const isHere = connection === "live" || connection === "closed";
  if (Number.isNaN(own.awayAt) && !isHere) goAway(own, events);
  else if (own.awayAt && Number.isNaN(own.backAt) && isHere && own.isDone) {
    own.backAt = Date.now();
    own.during = real(events).length - own.before;
  }
}

const AWAY = { text: TEXTS.trials.waiting, state: "waiting" };

/**
 * What can be said of the events: by their ids, which count up by one, and by what the engine counts.
 * @param {Trial} own
 * @param {readonly ExecutionEvent[]} events
 * @param {number} [count]
 */
function verdict(own, events, count) {
  const isLost = events
    .slice(own.first)
    .some((event) => event.type === "stream:reset" && event.reason !== "restarted");
  if (isLost) return { text: TEXTS.trials.lost(own.before), state: "problem" };
  const { missing, twice } = check(real(events));
  if (missing) return { text: TEXTS.trials.missing(missing), state: "problem" };
  if (twice) return { text: TEXTS.trials.twice(twice), state: "problem" };
  const late = (count ?? 0) - real(events).length;
  if (late > 0) return { text: TEXTS.trials.later(late), state: "waiting" };
  return { text: TEXTS.trials.whole, state: "success" };
}

/** How many ids are missing between those of these events, and how many came twice.
 * @param {readonly ExecutionEvent[]} events */
function check(events) {
  /** @type {Map<string, number>} */
  const lasts = new Map();
  let [missing, twice] = [0, 0];
  for (const event of events) {
    const [epoch, seq] = String(/** @type {{ id?: string }} */ (event).id ?? "").split("-");
    if (!seq) continue;
    const last = lasts.get(epoch) ?? (lasts.size ? 0 : Number(seq) - 1);
    missing += Math.max(0, Number(seq) - last - 1);
    if (Number(seq) <= last) twice += 1;
    lasts.set(epoch, Math.max(last, Number(seq)));
  }
  return { missing, twice };
}
