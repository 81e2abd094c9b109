// How long events were on their way to this page, and how sure that is.
//
// It is this page's clock minus the event's own timestamp, which the worker's clock gave. Where the
// gateway tells its time (`sse-gateway dev`), this page's clock is corrected by the difference.

import { digits, lasted, moment } from "./dom.js";
import { TEXTS } from "./texts.js";

// Of these many events, the latest, percentiles are counted.
const MOST = 1000;
// A comparison of clocks is renewed after so many milliseconds: clocks drift.
const KEPT_MS = 60_000;

/** Milliseconds by this page's own clock, newest last. Corrected only when they are shown: a later
 * comparison of clocks is a better one.
 * @typedef {number[]} Times */
/** Of the chosen run, since it was chosen.
 * @type {Times} */
let ofRun = [];
/** Of all runs that this page has shown.
 * @type {Times} */
const ofPage = [];
/** What to add to this page's clock, and by how much that may be wrong, in milliseconds.
 * @type {{ offset: number, within: number, at: number } | null} */
let compared = null;

/** This page's clock, finer than `Date.now`: milliseconds since 1970. */
export const exactNow = () => performance.timeOrigin + performance.now();

/**
 * The gateway's clock showed `time` at some moment between `from` and `to` of this page's clock.
 * @param {number} time
 * @param {number} from
 * @param {number} to
 */
export function compareClocks(time, from, to) {
  const within = (to - from) / 2;
  if (compared && within >= compared.within && to - compared.at < KEPT_MS) return;
  compared = { offset: time - (from + to) / 2, within, at: to };
}

/** Another run is chosen. */
export function beginArrivals() {
  ofRun = [];
}

/**
 * An event has just arrived through a live stream; a replayed one was not on its way for so long.
 * @param {{ timestamp?: unknown }} event
 */
export function noteArrival({ timestamp }) {
  const published = exactMoment(timestamp);
  if (!Number.isFinite(published)) return;
  for (const times of [ofRun, ofPage]) {
    times.push(exactNow() - published);
    if (times.length > MOST) times.shift();
  }
}

// Workers write microseconds; `Date.parse` drops them. `String` of an object may throw.
const exactMoment = (/** @type {unknown} */ time) =>
  typeof time === "string"
    ? moment(time) + Number(`0.${/\.\d{3}(\d+)/.exec(time)?.[1] ?? 0}`)
    : moment(time);

/** @param {Times} times */
function percentiles(times) {
  const offset = compared?.offset ?? 0;
  const sorted = Float64Array.from(times, (one) => one + offset).sort();
  return [0.5, 0.95, 0.99].map(
    (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))],
  );
}

/** What the page says of the chosen run's events: the value, and what it is. */
export function describeArrival() {
  if (ofRun.length === 0) return { value: "–", note: TEXTS.arrival.none, title: "" };
  const [p50, p95, p99] = percentiles(ofRun);
  const within = Math.max(compared?.within ?? 0, 0.1);
  const clocks = compared ? TEXTS.arrival.compared(precise(within)) : TEXTS.arrival.notCompared;
  const title = `${TEXTS.arrival.about(ofRun.length)} ${clocks}`;
  if (p50 < -within) return { value: TEXTS.run.unknown, note: TEXTS.arrival.ahead, title };
  return {
    value: precise(p50),
    note: `p50 · p95 ${precise(p95)} · p99 ${precise(p99)}`,
    title,
  };
}

/** Of all live events since this page was loaded; empty before the first one. */
export function describePage() {
  if (ofPage.length === 0) return "";
  const [p50, p95, p99] = percentiles(ofPage).map(precise);
  return `p50 ${p50} · p95 ${p95} · p99 ${p99}`;
}

/** @param {number} milliseconds */
function precise(milliseconds) {
  if (milliseconds < 100) return `${digits(Math.max(0.1, milliseconds))} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : lasted(milliseconds);
}
