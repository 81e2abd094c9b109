// One subscription for all components that follow the same: what the React hooks have in common.
//
// Rendering changes nothing, since React may discard it: streams are opened, and tokens adopted, in
// effects. How a stream is followed is in connection.js.

import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";

/** @import { RefObject } from "react" */
/** @import { ConnectionOptions, ConnectionState, Options, StreamError } from "./index.js" */

/** What a component passed to the hook when it rendered last.
 * @typedef {Pick<ConnectionOptions, "getToken" | "token" | "headers" | "fetch">
 *   & { enabled?: boolean, executionId?: string | null, executionIds?: readonly string[] | null,
 *   organizationId?: string | null }} Given */
/** @typedef {RefObject<Given>} Latest */
/** What the components show.
 * @typedef {{ connection: ConnectionState, error: StreamError | null }} Shown */
/** What they follow.
 * @typedef {{ close: () => void, tryAgain: () => void, readonly connection: ConnectionState,
 *   readonly error: StreamError | null,
 *   subscribe: (show: (shown: any) => void) => () => void }} Followed */
/** A way to follow something: what is shown at first, and the subscription to what a key names.
 * @typedef {{ connecting: Shown, closed: Shown, open: (options: any) => Followed }} Kind */

/** By key. A store is here as long as a component follows it.
 * @type {Map<string, Store>} */
const stores = new Map();

class Store {
  #key;
  #kind;
  /** @type {Shown} */
  shown;
  /** @type {Followed} */
  #subscription;
  /** What renders each component again.
   * @type {Map<Latest, () => void>} */
  #components = new Map();
  /** Of the component that rendered last: its token is used.
   * @type {Latest} */
  #latest;

  /**
   * @param {string} key
   * @param {Kind} kind
   * @param {Latest} latest
   */
  constructor(key, kind, latest) {
    this.#key = key;
    this.#kind = kind;
    this.#latest = latest;
    this.shown = kind.connecting;
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
    if (!this.#components.has(latest)) return;
    this.#latest = latest;
    // There may be one now.
    if (this.#subscription.error?.code === "no_token") this.#subscription.tryAgain();
  }

  /** Also a stream that was given up is opened again: there may be a better token.
   * @param {boolean} isOrder false: only such a stream */
  tryAgain(isOrder) {
    const { connection, error } = this.#subscription;
    if (connection === "closed" && error) this.#subscription = this.#open();
    else if (isOrder) this.#subscription.tryAgain();
  }

  #open() {
    const { getToken, token, headers, fetch } = this.#latest.current;
    /** @type {NonNullable<Options["getToken"]>} */
    const latestToken = (request) => {
      const { getToken: own, token: given } = this.#latest.current;
      return own ? own(request) : /** @type {string} */ (given);
    };
    const hasToken = getToken || token !== undefined;
    const subscription = this.#kind.open({
      ...JSON.parse(this.#key),
      headers,
      fetch,
      getToken: hasToken ? latestToken : undefined,
    });
    subscription.subscribe((shown) => {
      if (subscription !== this.#subscription) return;
      this.shown = shown;
      this.#notify();
    });
    this.shown = this.#kind.connecting;
    this.#notify();
    return subscription;
  }

  #notify() {
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

/** @param {string | null} key */
const storeOf = (key) => (key === null ? undefined : stores.get(key));

/** Calls that differ in one of these need another stream. The token is not among them: the stream
 * continues with a new one. Functions are not in JSON.
 * @param {Given} options */
const keyOf = ({ token: _, headers: __, enabled, ...about }) =>
  enabled === false ? null : JSON.stringify(Object.fromEntries(Object.entries(about).sort()));

/**
 * What is shown of what these options ask for, and what tries it again.
 * @param {Kind} kind
 * @param {Given} options
 * @returns {[any, () => void]}
 */
export function useShared(kind, options) {
  const key = keyOf(options);
  /** @type {Latest} */
  const latest = useRef(options);
  // Before the store is joined: effects run in the order of this text.
  useEffect(() => {
    latest.current = options;
    storeOf(key)?.rendered(latest);
  });
  const subscribe = useCallback(
    (/** @type {() => void} */ notify) => {
      if (key === null) return () => {};
      const store = stores.get(key) ?? new Store(key, kind, latest);
      stores.set(key, store);
      return store.join(latest, notify);
    },
    [key, kind],
  );
  const before = key === null ? kind.closed : kind.connecting;
  const now = () => storeOf(key)?.shown ?? before;
  const shown = useSyncExternalStore(subscribe, now, () => before);
  const tryAgain = useCallback(() => storeOf(key)?.tryAgain(true), [key]);
  useEffect(() => storeOf(key)?.tryAgain(false), [key, options.token]);
  return [shown, tryAgain];
}
