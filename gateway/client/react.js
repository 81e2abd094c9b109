// The React hook: one stream for all components that follow the same execution.

import { useCallback, useMemo, useRef, useSyncExternalStore } from "react";

import { subscribeToExecution } from "./index.js";

const NOTHING = Object.freeze([]);
const snapshotOf = (status, more) =>
  Object.freeze({ events: NOTHING, run: null, status, error: null, lastEventId: null, ...more });
const CONNECTING = snapshotOf("connecting");
const CLOSED = snapshotOf("closed");

// By what makes two streams the same.
const stores = new Map();

class Store {
  snapshot = CONNECTING;
  #key;
  #subscription;
  #components = new Set();

  constructor(key, executionId, latest) {
    this.#key = key;
    // The token is that of whoever rendered last: it changes, and the stream goes on.
    const getToken = (asked) => {
      const { getToken: ask, token } = latest.current;
      return ask ? ask(asked) : token;
    };
    this.#subscription = subscribeToExecution(executionId, { ...latest.current, getToken });
    this.#subscription.watch(() => this.#changed());
  }

  join(notify) {
    this.#components.add(notify);
    return () => {
      this.#components.delete(notify);
      // Not at once: StrictMode and a change of page leave and come back in the same breath.
      setTimeout(() => this.#components.size || this.#close());
    };
  }

  #changed() {
    const { events, run, status, error, lastEventId } = this.#subscription;
    this.snapshot = snapshotOf(status, { events: [...events], run, error, lastEventId });
    for (const notify of [...this.#components]) notify();
  }

  #close() {
    if (stores.get(this.#key) === this) stores.delete(this.#key);
    this.#subscription.close();
  }
}

function join(key, executionId, latest, notify) {
  if (!stores.has(key)) stores.set(key, new Store(key, executionId, latest));
  return stores.get(key).join(notify);
}

/** Follow an execution from a component; null follows nothing. See react.d.ts for both forms. */
export function useExecutionStream(executionId, ...given) {
  const isDocuments = given.length > 1 || typeof given[0] === "string";
  const options = isDocuments ? { token: given[0], organizationId: given[1] } : { ...given[0] };
  const latest = useRef(options);
  latest.current = options;
  const { baseUrl, organizationId, workflowId, lastEventId } = options;
  const key = JSON.stringify([executionId, baseUrl, organizationId, workflowId, lastEventId]);
  const subscribe = useCallback(
    (notify) => (executionId ? join(key, executionId, latest, notify) : () => {}),
    // The key says which execution.
    [key],
  );
  const before = executionId ? CONNECTING : CLOSED;
  const now = useCallback(() => stores.get(key)?.snapshot ?? before, [key, before]);
  const snapshot = useSyncExternalStore(subscribe, now, () => before);
  return useMemo(() => (isDocuments ? asDocument(snapshot) : snapshot), [isDocuments, snapshot]);
}

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

// What the hook of the front-end document returns.
function asDocument({ events, run, status, error }) {
  const words = status === "failed" ? run?.error_message || run?.status : error?.message;
  const isOver = status === "failed" || status === "closed";
  return {
    events: events.map((event) => ({ type: event.type, data: event, timestamp: event.timestamp })),
    status: DOCUMENTS_STATUS[status],
    error: (isOver && words) || null,
  };
}
