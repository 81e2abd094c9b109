// All that the page says in English, beside what its document has.

import { counted, number } from "./language.js";

/** @import { Count } from "./language.js" */

/** Of the document, which has them itself.
 * @type {Record<string, string>} */
export const html = {};

export const texts = {
  statuses: {
    pending: "no event yet",
    running: "running",
    paused: "paused",
    completed: "completed",
    failed: "failed",
    canceled: "canceled",
    ended: "ended",
    unknown: "unknown",
  },
  connections: {
    connecting: "connecting",
    live: "live",
    "catching-up": "catching up",
    reconnecting: "reconnecting",
    polling: "polling: no stream is possible",
    closed: "up to date",
  },
  noneChosen: "no run chosen",
  closed: "closed",
  reconnectingIn: (/** @type {string} */ wait) => `reconnecting in ${wait}`,
  list: {
    away: "The gateway does not answer. This page continues by itself when it does.",
    polling: "The list is requested every two seconds: no stream of it is possible.",
    filtered: "No run matches the filter.",
    none: "When a run of your organization begins, it appears here by itself.",
    compare: "Compare",
    ago: (/** @type {string} */ age) => `${age} ago`,
    steps: (/** @type {Count} */ count) => counted(count, "step", "steps"),
    watching: (/** @type {Count} */ count) => `${number(count)} watching`,
  },
  /** By the gateway's code, where its own message is in another language.
   * @type {Record<string, string>} */
  problems: {},
  badCharacter: "The token or the organization has a character that no token has.",
  noAnswer: "The gateway does not answer: try again.",
  pause: "Pause",
  pausing: "Pauses before the next step …",
  run: {
    runningFor: "Running for",
    took: "Took",
    unknown: "unknown",
    nothingYet:
      "It has not begun. If Redis was restarted without its data, what was before is lost.",
    ended: "Its last event does not say how it ended.",
    lost: "Its history is lost.",
    part: (/** @type {Count} */ count) =>
      `This is a part of the run: ${number(count)} events are no longer kept.`,
    somebody: "somebody",
    /** @type {(reason: string, since: string) => string} */
    waits: (reason, since) => `Waits for ${reason}${since && `, since ${since}`}.`,
    result: (/** @type {string} */ document) => `Result: ${document}`,
  },
  arrival: {
    none: "no live event yet",
    ahead: "the worker's clock is ahead",
    compared: (/** @type {string} */ within) =>
      `This page's clock was compared with the gateway's, to ±${within}.`,
    notCompared: "Differences between the clocks of this browser and the worker are included.",
    about: (/** @type {Count} */ count) =>
      `${counted(count, "event", "events")}: the time on this page minus the event's own timestamp.`,
  },
  states: {
    running: "runs",
    success: "done",
    error: "failed",
    interrupted: "interrupted",
    waiting: "waits",
    missing: "not known",
    restarted: "restarted",
  },
  details: {
    state: "state",
    began: "began",
    ended: "ended",
    took: "took",
    steps: "steps",
    running: "running",
    failed: "failed",
    interrupted: "interrupted",
    median: "median",
    longest: "longest",
    node: "node",
    attempt: "attempt",
    output: "output",
    waitingFor: "waiting for",
    lanes: "lanes",
  },
  rows: {
    step: "step",
    steps: (/** @type {Count} */ count) => counted(count, "step", "steps"),
    attempt: (/** @type {Count} */ count) => `attempt ${number(count)}`,
    missing: (/** @type {Count} */ count) =>
      counted(count, "event is missing", "events are missing"),
    lost: "history was lost",
    restarted: "restarted",
    waits: (/** @type {string} */ reason) => `waits for ${reason}`,
    together: (/** @type {Count} */ count) => `${count} at the same time`,
    /** @type {(shown: Count, all: Count) => string} */
    part: (shown, all) => `${number(shown)} of ${counted(all, "step", "steps")}`,
    none: "No step has begun yet.",
    unknown: "No step is known.",
    noneKept: "None of its steps are kept.",
  },
  zoom: {
    earlier: "Earlier",
    later: "Later",
    in: "Zoom in",
    out: "Zoom out",
    whole: "Whole run",
    latest: "Last steps",
  },
  log: {
    earlier: (/** @type {Count} */ count) => counted(count, "earlier event", "earlier events"),
    copied: (/** @type {Count} */ count) => `${counted(count, "event", "events")} copied`,
    only: (/** @type {string} */ step) => `Only ${step}: show all`,
    notCopied: "the browser does not allow it",
  },
  trials: {
    buttons: {
      cut: "Cut this connection",
      gateway: "Restart the gateway",
      redis: "Restart Redis",
      "redis-empty": "Restart Redis without its data",
    },
    away: (/** @type {string} */ time) => `While away${time && ` (${time})`}`,
    arrival: "All runs on this page",
    waiting: "Waits until the connection is back …",
    whole: "Nothing was lost, and nothing came twice.",
    later: (/** @type {Count} */ count) =>
      counted(count, "event is on its way.", "events are on their way."),
    missing: (/** @type {Count} */ count) =>
      counted(count, "event is missing.", "events are missing."),
    twice: (/** @type {Count} */ count) => `${number(count)} came twice.`,
    lost: (/** @type {Count} */ count) =>
      `Redis came back without its data. The ${number(count)} events before that are lost there: they are ` +
      "in the log below until this page is loaded again, and the run continues without them.",
  },
};
