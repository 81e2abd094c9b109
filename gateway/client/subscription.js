// One subscription as the page sees it: its events, its run, and an honest word for its state.

import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { TERMINAL_TYPES } from "./fold.js";
import { Poll } from "./poll.js";
import { Record } from "./record.js";

const DOCUMENTED = ["step:started", "step:completed", "step:failed", "execution:paused"];
// Stands for whichever workflow an execution belongs to.
const ANY_WORKFLOW = "-";

export class Subscription {
  #record;
  #connection;
  #onEvent;
  #onStatus;
  #told = 0;
  #isClosed = false;
  #hasConnected = false;
  #shown = "";
  #watchers = new Set();

  /** `connecting`, `live`, `catching-up`, `reconnecting`, `polling`, `completed`, `failed`, `paused`
   * or `closed`. */
  status = "connecting";
  /** Resolves when it is over, however it ended. */
  finished;

  constructor(executionId, options) {
    const { baseUrl, terminalTypes = TERMINAL_TYPES, workflowId = ANY_WORKFLOW, signal } = options;
    this.executionId = executionId;
    this.#onEvent = options.onEvent;
    this.#onStatus = options.onStatus;
    this.#record = new Record({ ...options, executionId, workflowId, terminalTypes });
    const [id, workflow] = [executionId, workflowId].map(encodeURIComponent);
    this.#connection = new Connection({
      url: `${baseUrl}/api/v1/sse/executions/${id}/stream`,
      poll: new Poll(`${baseUrl}/api/v1/workflows/${workflow}/runs/${id}`),
      credentials: new Credentials(options.getToken, options.organizationId),
      record: this.#record,
      types: [...DOCUMENTED, ...terminalTypes, ...(options.types ?? [])],
      transport: options.transport,
      timing: options.timing,
      changed: () => this.#changed(),
    });
    signal?.addEventListener("abort", () => this.close(), { once: true });
    if (signal?.aborted) this.close();
    // The caller has its subscription before the first callback.
    this.finished = Promise.resolve().then(() => this.#follow());
  }

  /** All events seen so far, in order, `stream:gap` and `stream:reset` among them. */
  get events() {
    return this.#record.seen;
  }

  /** The run document: the same object until something changes. */
  get run() {
    return this.#record.run;
  }

  get lastEventId() {
    return this.#record.lastEventId;
  }

  /** Why it is not live, as an Error; null while it is, and when all went well. */
  get error() {
    return this.#connection.error;
  }

  /** When the next try is, in milliseconds since the epoch; null while nothing is waited for. */
  get nextTryAt() {
    return this.#connection.nextTryAt;
  }

  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
    this.#changed();
  }

  /** Call `watcher` after each change, until the function that this returns is called. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** All events from the first one on; ends with the execution or with `close`, and throws what it
   * was given up for. */
  async *[Symbol.asyncIterator]() {
    for (let next = 0; ;) {
      if (next < this.events.length) yield this.events[next++];
      else if (this.#isOver) break;
      else await this.#change();
    }
    if (this.#connection.givenUp) throw this.error;
  }

  get #isOver() {
    return ["completed", "failed", "closed"].includes(this.status);
  }

  #change() {
    return new Promise((resolve) => {
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
    this.#tellEvents();
    this.status = this.#word();
    const { status, nextTryAt, error } = this;
    const shown = `${status} ${nextTryAt} ${error?.message}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      safely(() => this.#onStatus?.(status, { nextTryAt, error }));
    }
    for (const watcher of [...this.#watchers]) safely(watcher);
  }

  #tellEvents() {
    while (this.#told < this.events.length && !this.#isClosed) {
      const event = this.events[this.#told++];
      safely(() => this.#onEvent?.(event));
    }
  }

  #word() {
    const { connected, isCatchingUp, isPolling, givenUp } = this.#connection;
    const { ending } = this.#record;
    if (ending !== null) return ending === "completed" ? "completed" : "failed";
    if (this.#isClosed || givenUp) return "closed";
    this.#hasConnected ||= connected;
    if (isCatchingUp) return "catching-up";
    if (connected) return this.run.status === "paused" ? "paused" : "live";
    if (isPolling) return "polling";
    return this.#hasConnected || this.error ? "reconnecting" : "connecting";
  }
}

// A page's own mistake must not end its stream.
function safely(call) {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}
