// The React hook: one stream for all components that follow the same execution.
//
// Rendering changes nothing, since React may discard it: streams are opened, and tokens adopted, in
// effects. How a stream is followed is in subscription.js.

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";

import { subscribeToExecution } from "./index.js";
import { legacyEvents, legacyState } from "./legacy.js";

/** @import { RefObject } from "react" */
/** @import { ExecutionEvent, Options, Subscription } from "./index.js" */
/** @import { ExecutionStream, StreamOptions } from "./react.js" */

/** What a component passed to the hook when it rendered last.
 * @typedef {RefObject<Partial<StreamOptions>>} Latest */

/** @type {readonly ExecutionEvent[]} */
const NO_EVENTS = Object.freeze([]);
/** @type {ExecutionStream} */
const CONNECTING = Object.freeze({
  events: NO_EVENTS,
  run: null,
  connection: "connecting",
  status: "connecting",
  error: null,
  lastEventId: null,
});
/** @type {ExecutionStream} */
const CLOSED = Object.freeze({
  ...CONNECTING,
  connection: "closed",
  status: "closed",
});

// Calls that differ in one of these need another stream. The token is not among them: the stream
// continues with a new one.
const KEY = [
  "executionId",
  "baseUrl",
  "organizationId",
  "workflowId",
  "lastEventId",
  "terminalTypes",
  "types",
  "transport",
];

/** By key. A store is here as long as a component follows it.
 * @type {Map<string, Store>} */
const stores = new Map();

class Store {
  snapshot = CONNECTING;
  #key;
  /** @type {Subscription} */
  #subscription;
  /** What renders each component again.
   * @type {Map<Latest, () => void>} */
  #components = new Map();
  /** Of the component that rendered last: its token is used.
   * @type {Latest} */
  #latest;

  /**
   * @param {string} key
   * @param {Latest} latest
   */
  constructor(key, latest) {
    this.#key = key;
    this.#latest = latest;
    this.#subscription = this.#open();
  }

  /**
   * @param {Latest} latest
   * @param {() => void} notify
   */
  join(latest, notify) {
    this.#components.set(latest, notify);
    this.rendered(latest);
    return () => this.#leave(latest);
  }

  /** @param {Latest} latest */
  rendered(latest) {
    if (this.#components.has(latest)) this.#latest = latest;
  }

  /** There may be a better token: a stream that was given up without one is opened again. */
  tryAgain() {
    if (this.snapshot.status === "closed") this.#subscription = this.#open();
  }

  #open() {
    const { executionId, ...options } = JSON.parse(this.#key);
    /** @type {NonNullable<Options["getToken"]>} */
    const getToken = (request) => {
      const { getToken: own, token } = this.#latest.current;
      return own ? own(request) : /** @type {string} */ (token);
    };
    const subscription = subscribeToExecution(executionId, { ...options, getToken });
    subscription.watch(() => subscription === this.#subscription && this.#changed());
    this.#show(CONNECTING);
    return subscription;
  }

  #changed() {
    const { run, connection, status, error, lastEventId, events } = this.#subscription;
    const before = this.snapshot;
    /** @type {ExecutionStream} */
    const now = {
      // The subscription's own list grows; React needs another one to see that there is more.
      events: events.length === before.events.length ? before.events : [...events],
      run,
      connection,
      status,
      error,
      lastEventId,
    };
    // Heartbeats change nothing, and render nothing.
    const names = /** @type {(keyof ExecutionStream)[]} */ (Object.keys(now));
    if (names.some((name) => now[name] !== before[name])) this.#show(Object.freeze(now));
  }

  /** @param {ExecutionStream} snapshot */
  #show(snapshot) {
    this.snapshot = snapshot;
    for (const notify of [...this.#components.values()]) notify();
  }

  /** @param {Latest} latest */
  #leave(latest) {
    this.#components.delete(latest);
    this.#latest = [...this.#components.keys()].at(-1) ?? this.#latest;
    // Not at once: StrictMode and a change of page leave and join again within a moment.
    setTimeout(() => this.#components.size || this.#close());
  }

  #close() {
    if (stores.get(this.#key) === this) stores.delete(this.#key);
    this.#subscription.close();
  }
}

/**
 * @param {string} key
 * @param {Latest} latest
 * @param {() => void} notify
 */
function join(key, latest, notify) {
  const store = stores.get(key) ?? new Store(key, latest);
  stores.set(key, store);
  return store.join(latest, notify);
}

/** @param {string | null} key */
const storeOf = (key) => (key === null ? undefined : stores.get(key));

/**
 * Follow an execution from a component; an id of null follows nothing. See react.d.ts for both forms.
 * @param {string | null} executionId
 * @param {[options: StreamOptions]
 *   | [token: string, organizationId: string, options?: StreamOptions]} given
 */
export function useExecutionStream(executionId, ...given) {
  const [first, organizationId, more] = given;
  const isLegacy = given.length > 1 || typeof first === "string";
  const options = isLegacy
    ? { ...more, token: /** @type {string} */ (first), organizationId }
    : { .../** @type {StreamOptions} */ (first) };
  const key = executionId ? JSON.stringify({ ...options, executionId }, KEY) : null;
  /** @type {Latest} */
  const latest = useRef(options);
  // Before the store is joined: effects run in the order of this text.
  useEffect(() => {
    latest.current = options;
    storeOf(key)?.rendered(latest);
  });
  const subscribe = useCallback(
    (/** @type {() => void} */ notify) => (key === null ? () => {} : join(key, latest, notify)),
    [key],
  );
  const before = key === null ? CLOSED : CONNECTING;
  const now = () => storeOf(key)?.snapshot ?? before;
  const snapshot = useSyncExternalStore(subscribe, now, () => before);
  useEffect(() => storeOf(key)?.tryAgain(), [key, options.token]);
  const { events } = snapshot;
  const legacy = useMemo(() => (isLegacy ? legacyEvents(events) : []), [isLegacy, events]);
  return isLegacy ? { events: legacy, ...legacyState(snapshot) } : snapshot;
}
