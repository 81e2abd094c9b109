// The legacy API: what the React hook of the front-end document returns, made from what ours returns.

/** @import { ExecutionEvent, LegacySubscription, Options, Run, Status, Subscription } from "./index.js" */
/** @import { LegacyExecutionStream } from "./react.js" */
/** @typedef {LegacySubscription["addEventListener"]} Listen */

/** @type {(status: Status) => LegacyExecutionStream["status"]} */
function legacyStatus(status) {
  if (status === "completed" || status === "failed") return status;
  if (status === "ended" || status === "closed") return "disconnected";
  return status.endsWith("connecting") ? "connecting" : "connected";
}

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
  return { status: legacyStatus(status), error: text || null };
}

/**
 * A subscription in the form of an EventSource: so the function of the front-end document needs another
 * line only where it made its own. It stays open when a connection is lost.
 * @param {(options: Pick<Options, "onEvent" | "onStatus">) => Subscription} open
 * @param {Options} given
 * @returns {LegacySubscription}
 */
export function legacySource(open, { onEvent, onStatus }) {
  const target = new EventTarget();
  /** @type {(type: string, data: object, lastEventId?: string) => void} */
  const send = (type, data, lastEventId) =>
    void target.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId }));
  let hasConnected = false;
  const source = /** @type {LegacySubscription} */ (
    open({
      onEvent(event) {
        connect();
        send(event.type, event, "id" in event ? event.id : undefined);
        onEvent?.(event);
      },
      onStatus(status, detail) {
        if (detail.connection === "live") connect();
        if (status === "closed" && detail.error) source.onerror?.(new Event("error"));
        onStatus?.(status, detail);
      },
    })
  );
  function connect() {
    if (!hasConnected) send("connected", { execution_id: source.executionId });
    hasConnected = true;
  }
  return Object.assign(source, {
    onerror: null,
    addEventListener: /** @type {Listen} */ (target.addEventListener.bind(target)),
    removeEventListener: /** @type {Listen} */ (target.removeEventListener.bind(target)),
  });
}
