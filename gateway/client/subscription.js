// One subscription as the page sees it: its events, its run, and its status.

import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { TERMINAL_TYPES } from "./ending.js";
import { RunState } from "./run_state.js";

/** @import { GetToken } from "./credentials.js" */
/** @import { ConnectionState, ExecutionEvent, Options, Status, Subscription as Declared } from "./index.js" */

const DOCUMENTED = ["step:started", "step:completed", "step:failed", "execution:paused"];
// Matches any workflow that an execution belongs to.
const ANY_WORKFLOW = "-";

/** @implements {Declared} */
export class Subscription {
  #state;
  #connection;
  #onEvent;
  #onStatus;
  // How many events `onEvent` was called for.
  #notified = 0;
  #isClosed = false;
  #hasConnected = false;
  // The status, next try and error that `onStatus` was called with last.
  #shown = "";
  /** @type {Set<() => void>} */
  #watchers = new Set();

  /** How the events arrive; nothing about the run.
   * @type {ConnectionState} */
  connection = "connecting";
  /** Both in one word: the connection until the run has ended or is paused.
   * @type {Status} */
  status = "connecting";
  /** Resolves when it is over, for any reason.
   * @type {Promise<void>} */
  finished;

  /**
   * @param {string} executionId
   * @param {Omit<Options, "getToken"> & { baseUrl: string, getToken: GetToken | string }} options
   */
  constructor(executionId, options) {
    const { baseUrl, terminalTypes = TERMINAL_TYPES, workflowId = ANY_WORKFLOW, signal } = options;
    this.executionId = executionId;
    this.#onEvent = options.onEvent;
    this.#onStatus = options.onStatus;
    this.#state = new RunState({ ...options, executionId, workflowId, terminalTypes });
    const [id, workflow] = [executionId, workflowId].map(encodeURIComponent);
    this.#connection = new Connection({
      streamUrl: `${baseUrl}/api/v1/sse/executions/${id}/stream`,
      runUrl: `${baseUrl}/api/v1/workflows/${workflow}/runs/${id}`,
      credentials: new Credentials(options.getToken, options.organizationId),
      state: this.#state,
      types: [...DOCUMENTED, ...typesIn(terminalTypes), ...(options.types ?? [])],
      transport: options.transport,
      timing: options.timing,
      changed: () => this.#changed(),
    });
    signal?.addEventListener("abort", () => this.close(), { once: true });
    if (signal?.aborted) this.close();
    // The caller has its subscription before the first callback.
    this.finished = Promise.resolve().then(() => this.#follow());
  }

  /** All events so far, in order, with `stream:gap` and `stream:reset`. */
  get events() {
    return this.#state.events;
  }

  /** The run document: the same object until something changes. */
  get run() {
    return this.#state.run;
  }

  get lastEventId() {
    return this.#state.lastEventId;
  }

  /** Why it is not live; null while it is, and after a normal end. */
  get error() {
    return this.#connection.error;
  }

  /** When the next try is, in milliseconds since the epoch; null while none is scheduled. */
  get nextTryAt() {
    return this.#connection.nextTryAt;
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
    this.#changed();
  }

  /**
   * Call `watcher` after each change, until the returned function is called.
   * @param {() => void} watcher
   */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** All events from the first one on. Ends with the execution or with `close`; throws `error` if the
   * gateway refuses access. */
  async *[Symbol.asyncIterator]() {
    let next = 0;
    for (;;) {
      if (next < this.events.length) yield this.events[next++];
      else if (this.#isOver) break;
      else await this.#change();
    }
    if (this.#connection.givenUp) throw this.error;
  }

  get #isOver() {
    return this.connection === "closed";
  }

  #change() {
    return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      const stop = this.watch(() => {
        stop();
        resolve();
      });
    });
  }

  async #follow() {
    if (!this.#isClosed) await this.#connection.run();
    this.#changed();
  }

  #changed() {
    this.#notifyEvents();
    this.connection = this.#connectionNow();
    this.status = this.#statusNow();
    const { connection, status, nextTryAt, error } = this;
    const shown = `${status} ${nextTryAt} ${error?.message}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      safely(() => this.#onStatus?.(status, { connection, nextTryAt, error }));
    }
    for (const watcher of [...this.#watchers]) safely(watcher);
  }

  #notifyEvents() {
    while (this.#notified < this.events.length && !this.#isClosed) {
      const event = this.events[this.#notified++];
      safely(() => this.#onEvent?.(event));
    }
  }

  /** @returns {ConnectionState} */
  #connectionNow() {
    const { connected, givenUp, isCatchingUp, isPolling } = this.#connection;
    if (this.#state.ending !== null || this.#isClosed || givenUp) return "closed";
    this.#hasConnected ||= connected;
    if (connected) return isCatchingUp ? "catching-up" : "live";
    if (isPolling) return "polling";
    return this.#hasConnected || this.error ? "reconnecting" : "connecting";
  }

  /** @returns {Status} */
  #statusNow() {
    const { ending } = this.#state;
    if (ending !== null) return ending === "canceled" ? "failed" : ending;
    return this.connection === "live" && this.run.status === "paused" ? "paused" : this.connection;
  }
}

/** @param {readonly string[] | Readonly<Record<string, unknown>>} types
 * @returns {readonly string[]} */
const typesIn = (types) => (Array.isArray(types) ? types : Object.keys(types));

/** An error in the page's own callback must not end its stream.
 * @param {() => void} call */
function safely(call) {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    // eslint-disable-next-line no-console -- Node has no reportError.
    else console.error(error);
  }
}
