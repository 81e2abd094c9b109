// What the React hook of the front-end document returns, made of what ours returns.

const DOCUMENTS_STATUS = {
  connecting: "connecting",
  reconnecting: "connecting",
  live: "connected",
  "catching-up": "connected",
  polling: "connected",
  paused: "connected",
  completed: "completed",
  failed: "failed",
  closed: "disconnected",
};

/** Each event as `{type, data: envelope, timestamp}`. Such a page reads `event.data.data` of every
 * one, and knows no notices: they are left out, and what a reset says is to be forgotten too. */
export function documentsEvents(events) {
  return events
    .slice(events.findLastIndex(({ type }) => type === "stream:reset") + 1)
    .filter(({ data }) => data instanceof Object)
    .map((event) => ({ type: event.type, data: event, timestamp: event.timestamp }));
}

/** The status and what went wrong, a text or null. */
export function documentsWords({ run, status, error }) {
  const words = { failed: run?.error_message || run?.status, closed: error?.message };
  return { status: DOCUMENTS_STATUS[status], error: words[status] || null };
}
