// What a page follows, as the page sees it: the state of the connection, and who is called at each change.
//
// What is followed is in subscription.js (one run), list.js (a list) and set.js (several runs).

/** @import { Connection } from "./connection.js" */
/** @import { ConnectionOptions, ConnectionState, StatusDetail, StreamError } from "./index.js" */
/** What it is kept up to date by.
 * @typedef {Pick<Connection, "run" | "close" | "tryAgain" | "connected" | "givenUp" | "error"
 *   | "isCatchingUp" | "isPolling" | "isRenewing" | "nextTryAt">} Source */
/**
 * What is followed.
 * @template Shown
 * @typedef {object} About
 * @property {ConnectionOptions & { onStatus?: (status: any, detail: StatusDetail) => void }} options
 * @property {{ readonly ending: unknown }} state null while there is something to follow
 * @property {(changed: () => void) => Source} connect
 * @property {(own: { isClosed: boolean }) => void} [notify] calls the page for what is new
 * @property {(own: { isClosed: boolean }) => void} [complete] calls it for what has ended, after the
 *   status
 * @property {(connection: ConnectionState) => string} [status] in one word; by default the connection
 * @property {(before?: Shown) => Omit<Shown, "connection" | "status" | "error">} show what a page shows beside
 *   the status, after `before`
 */

// About one frame. No animation frame: a hidden tab has none, and its title may show the status.
const THROTTLE_MS = 16;

/** @template Shown */
export class Followed {
  #about;
  #source;
  #hasConnected = false;
  // The status, next try and error that `onStatus` was called with last.
  #shown = "";
  /** @type {Set<() => void>} */
  #watchers = new Set();
  /** @type {Set<() => void>} */
  #subscribers = new Set();
  #snapshot;
  #isShowingSoon = false;

  isClosed = false;
  /** @type {ConnectionState} */
  connection = "connecting";
  /** @type {string} */
  status = "connecting";

  /** @param {About<Shown>} about */
  constructor(about) {
    const { signal } = about.options;
    this.#about = about;
    this.#source = about.connect(() => this.#changed());
    signal?.addEventListener("abort", () => this.close(), { once: true });
    if (signal?.aborted) this.close();
    this.#snapshot = this.#now();
    // The caller has its subscription before the first callback.
    this.finished = Promise.resolve().then(() => this.#follow());
  }

  /**
   * For the page: an object without private members, since Vue and others put a proxy before it.
   * @param {object} more
   * @param {string[]} names of what is read from the state
   * @returns {any}
   */
  outside(more, ...names) {
    const { state } = this.#about;
    const close = () => this.close();
    const made = {
      finished: this.finished,
      close,
      tryAgain: () => this.#source.tryAgain(),
      watch: (/** @type {() => void} */ watcher) => this.watch(watcher),
      subscribe: (/** @type {(shown: Shown) => void} */ show) => this.#subscribe(show),
      // Not every browser has it.
      ...(Symbol.dispose && { [Symbol.dispose]: close }),
      ...more,
    };
    const read = (/** @type {any} */ from, /** @type {string[]} */ ...all) => {
      for (const name of all) {
        Object.defineProperty(made, name, { get: () => from[name], enumerable: true });
      }
    };
    read(this, "connection", "status", "error", "nextTryAt");
    read(state, ...names);
    return made;
  }

  /** No further try can help. */
  get givenUp() {
    return this.#source.givenUp;
  }

  get #hasEnded() {
    return this.#about.state.ending !== null;
  }

  get error() {
    return this.#hasEnded ? null : this.#source.error;
  }

  get nextTryAt() {
    return this.#source.nextTryAt;
  }

  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#source.close();
    this.#changed();
  }

  /** @param {() => void} watcher */
  watch(watcher) {
    return among(this.#watchers, watcher);
  }

  /** @param {(shown: Shown) => void} show */
  #subscribe(show) {
    const one = () => show(this.#snapshot);
    one();
    return among(this.#subscribers, one);
  }

  async #follow() {
    if (!this.isClosed) await this.#source.run();
    this.#changed();
  }

  #changed() {
    const { options, notify, complete, status: statusOf } = this.#about;
    const { onStatus, throttleMs = THROTTLE_MS } = options;
    notify?.(this);
    const connection = (this.connection = this.#connectionNow());
    const status = (this.status = statusOf?.(connection) ?? connection);
    const { error, nextTryAt } = this;
    const shown = `${status} ${nextTryAt} ${error?.message}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      safely(() => onStatus?.(status, { connection, nextTryAt, error }));
    }
    complete?.(this);
    for (const watcher of [...this.#watchers]) safely(watcher);
    if (!this.#isShowingSoon) setTimeout(() => this.#show(), throttleMs);
    this.#isShowingSoon = true;
  }

  #show() {
    this.#isShowingSoon = false;
    const before = this.#snapshot;
    const now = this.#now(before);
    // Heartbeats change nothing, and show nothing.
    const names = /** @type {(keyof Shown)[]} */ (Object.keys(/** @type {object} */ (now)));
    if (names.every((name) => now[name] === before[name])) return;
    this.#snapshot = now;
    for (const subscriber of [...this.#subscribers]) safely(subscriber);
  }

  /** @param {Shown} [before] */
  #now(before) {
    const { connection, status, error } = this;
    const now = { ...this.#about.show(before), connection, status, error };
    return /** @type {Shown} */ (Object.freeze(now));
  }

  /** @returns {ConnectionState} */
  #connectionNow() {
    const { connected, givenUp, isPolling, isRenewing } = this.#source;
    if (this.#hasEnded || this.isClosed || givenUp) return "closed";
    this.#hasConnected ||= connected;
    if (connected) return this.#openNow();
    if (isRenewing) return this.connection;
    if (isPolling) return "polling";
    // Without a token there is nothing to connect with.
    const hasTried = this.error && this.error.code !== "no_token";
    return this.#hasConnected || hasTried ? "reconnecting" : "connecting";
  }

  #openNow() {
    // Such an error of an open stream says that nothing can arrive on it.
    if (this.error?.retryable) return "reconnecting";
    return this.#source.isCatchingUp ? "catching-up" : "live";
  }
}

/**
 * Keep `one` in `all` until the returned function is called.
 * @param {Set<() => void>} all
 * @param {() => void} one
 */
function among(all, one) {
  all.add(one);
  return () => void all.delete(one);
}

/** An error in the page's own callback must not end its stream.
 * @param {() => void} call */
export function safely(call) {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    // eslint-disable-next-line no-console -- Node has no reportError.
    else console.error(error);
  }
}
