// The legacy API: what the React hook of the front-end document returns, made from what ours returns.

/** @import { ExecutionEvent, Run, Status } from "./index.js" */
/** @import { LegacyExecutionStream } from "./react.js" */

/** @type {Record<Status, LegacyExecutionStream["status"]>} */
const LEGACY_STATUS = {
  connecting: "connecting",
  reconnecting: "connecting",
  live: "connected",
  "catching-up": "connected",
  polling: "connected",
  paused: "connected",
  completed: "completed",
  failed: "failed",
  ended: "disconnected",
  closed: "disconnected",
};

/**
 * Each event as `{type, data: envelope, timestamp}`. Such a page reads `event.data.data` of every
 * event, so notices are left out, and so is everything before the last reset.
 * @param {readonly ExecutionEvent[]} events
 * @returns {LegacyExecutionStream["events"]}
 */
export function legacyEvents(events) {
  return events
    .slice(events.findLastIndex(({ type }) => type === "stream:reset") + 1)
    .filter((event) => "data" in event)
    .filter(({ data }) => data instanceof Object)
    .map((event) => ({ type: event.type, data: event, timestamp: event.timestamp }));
}

/**
 * The status, and the error as a text or null.
 * @param {{ run: Run | null, status: Status, error: Error | null }} stream
 * @returns {Pick<LegacyExecutionStream, "status" | "error">}
 */
export function legacyState({ run, status, error }) {
  let text = null;
  if (status === "failed") text = run?.error_message || run?.status;
  if (status === "closed") text = error?.message;
  return { status: LEGACY_STATUS[status], error: text || null };
}
