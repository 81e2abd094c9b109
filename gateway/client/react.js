// The React hook: one stream for all components that follow the same execution.
//
// Nothing happens while a component renders, which may come to nothing: streams are opened, and
// tokens taken over, in effects. How a stream is followed is the matter of subscription.js.

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";

import { documentsEvents, documentsWords } from "./document.js";
import { subscribeToExecution } from "./index.js";

const NOTHING = Object.freeze([]);
const FIRST = { events: NOTHING, run: null, status: "connecting", error: null, lastEventId: null };
const CONNECTING = Object.freeze(FIRST);
const CLOSED = Object.freeze({ ...FIRST, status: "closed" });

// What makes two streams different ones. The token does not: the stream goes on with a new one.
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

// By key. An entry is there for as long as a component follows it.
const stores = new Map();

class Store {
  snapshot = CONNECTING;
  #key;
  #subscription;
  // Whom to tell, by the ref that holds what the component gave when it rendered last.
  #components = new Map();
  // The ref whose token is used: that of the component that rendered last.
  #latest;

  constructor(key) {
    this.#key = key;
    this.#open();
  }

  join(latest, notify) {
    this.#components.set(latest, notify);
    this.rendered(latest);
    return () => this.#leave(latest);
  }

  rendered(latest) {
    if (this.#components.has(latest)) this.#latest = latest;
  }

  /** There may be a better token: a stream that was given up for want of one begins anew. */
  tryAgain() {
    if (this.snapshot.status === "closed") this.#open();
  }

  #open() {
    const { executionId, ...options } = JSON.parse(this.#key);
    const getToken = (asked) => {
      const { getToken: ask, token } = this.#latest.current;
      return ask ? ask(asked) : token;
    };
    const subscription = subscribeToExecution(executionId, { ...options, getToken });
    subscription.watch(() => subscription === this.#subscription && this.#changed());
    this.#subscription = subscription;
    this.#show(CONNECTING);
  }

  #changed() {
    const { run, status, error, lastEventId, events: seen } = this.#subscription;
    const before = this.snapshot.events;
    // Its own list grows; React tells by another one that there is more.
    const events = seen.length === before.length ? before : [...seen];
    const now = { events, run, status, error, lastEventId };
    // Heartbeats change nothing: nothing is rendered for them.
    const isNew = Object.keys(now).some((name) => now[name] !== this.snapshot[name]);
    if (isNew) this.#show(Object.freeze(now));
  }

  #show(snapshot) {
    this.snapshot = snapshot;
    for (const notify of [...this.#components.values()]) notify();
  }

  #leave(latest) {
    this.#components.delete(latest);
    this.#latest = [...this.#components.keys()].at(-1) ?? this.#latest;
    // Not at once: StrictMode and a change of page leave and come back in the same breath.
    setTimeout(() => this.#components.size || this.#close());
  }

  #close() {
    if (stores.get(this.#key) === this) stores.delete(this.#key);
    this.#subscription.close();
  }
}

function join(key, latest, notify) {
  if (!stores.has(key)) stores.set(key, new Store(key));
  return stores.get(key).join(latest, notify);
}

/** Follow an execution from a component; null follows nothing. See react.d.ts for both forms. */
export function useExecutionStream(executionId, ...given) {
  const isDocuments = given.length > 1 || typeof given[0] === "string";
  const [token, organizationId, more] = given;
  const options = isDocuments ? { ...more, token, organizationId } : { ...given[0] };
  const key = executionId ? JSON.stringify({ ...options, executionId }, KEY) : null;
  const latest = useRef(options);
  // Before the store is joined: effects run in the order in which they stand here.
  useEffect(() => {
    latest.current = options;
    stores.get(key)?.rendered(latest);
  });
  const subscribe = useCallback(
    (notify) => (key === null ? () => {} : join(key, latest, notify)),
    [key],
  );
  const before = key === null ? CLOSED : CONNECTING;
  const now = () => stores.get(key)?.snapshot ?? before;
  const snapshot = useSyncExternalStore(subscribe, now, () => before);
  useEffect(() => stores.get(key)?.tryAgain(), [key, options.token]);
  const { events } = snapshot;
  const documents = useMemo(() => isDocuments && documentsEvents(events), [isDocuments, events]);
  return isDocuments ? { events: documents, ...documentsWords(snapshot) } : snapshot;
}
