// One stream, from its request to its end: reads it into the run state, and gives it up when it is
// silent for too long. What follows it is decided in connection.js.

import { isEnding } from "./ending.js";
import { StreamError } from "./errors.js";
import { isAtOrAfter, parseId } from "./ids.js";
import { TOO_MANY } from "./slots.js";

/** @import { Backoff } from "./backoff.js" */
/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { Documents } from "./documents.js" */
/** @import { Ending, TerminalTypes } from "./ending.js" */
/** @import { EventId } from "./ids.js" */
/** @import { Message } from "./sse.js" */
/** @import { OpenStream, StreamRequest } from "./streams.js" */

// A connection that is silent for so many heartbeats is dead, even if the browser does not report it.
const HEARTBEATS_MISSED = 2.5;
const SILENT = "The stream is silent: not even a heartbeat arrives.";
const HELD_BACK = "No stream arrives, and no error. Does a proxy hold it back?";
const ALONE = " Or do other tabs hold all connections? This one has a stream of its own, since ";

const DEAF = new StreamError("redis", "The gateway has lost Redis: no event can arrive.");

/**
 * What a stream is read into: one run, several, or a list.
 * @typedef {object} State
 * @property {unknown} ending null while there is something to follow
 * @property {string | null} lastEventId where the next stream goes on
 * @property {(types: TerminalTypes) => void} endsWith
 * @property {(type: string, document: any, id?: string) => void} receive takes in a message that is not
 *   about the stream itself
 */

/**
 * What every stream of a subscription uses.
 * @typedef {object} Shared
 * @property {string} url
 * @property {OpenStream} open
 * @property {typeof fetch} fetch
 * @property {boolean} withCredentials
 * @property {readonly string[]} types
 * @property {Credentials} credentials
 * @property {State} state
 * @property {Documents} documents
 * @property {Backoff} backoff
 * @property {{ connectedWithinMs: number, heartbeatMs: number }} timing
 */

/**
 * What a stream reports while it is read.
 * @typedef {object} Listener
 * @property {() => void} connected
 * @property {() => void} nothingArrives
 * @property {() => void} expiring the token is about to expire
 * @property {(notice: { reason: string, retry_ms?: number }) => number | null} closing the gateway is
 *   about to end the stream; returns the milliseconds until the next one, null for the backoff's
 * @property {() => void} changed
 */

export class StreamAttempt {
  /** The stream has begun and has not ended. */
  connected = false;
  /** Why nothing can arrive though the stream is open; null while it can.
   * @type {StreamError | null} */
  error = null;
  /** The headers of the request.
   * @type {Headers} */
  headers = {};
  #shared;
  #listener;
  #controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;
  #heartbeatMs;
  #lastHeardAt = 0;
  /** The last event in the history when the stream began; null once it was passed.
   * @type {EventId | null} */
  #catchUpTo = null;
  /** The last event that the stream has delivered.
   * @type {EventId | null} */
  #last = null;
  /** How the execution had ended before the stream began.
   * @type {Ending | null} */
  #endedAs = null;

  /**
   * @param {Shared} shared
   * @param {Listener} listener
   */
  constructor(shared, listener) {
    this.#shared = shared;
    this.#listener = listener;
    this.#heartbeatMs = shared.timing.heartbeatMs;
  }

  /** Aborted with the reason when the stream is given up. */
  get signal() {
    return this.#controller.signal;
  }

  /** Connected, and still behind the history that there was at the beginning. */
  get isCatchingUp() {
    return this.connected && this.#catchUpTo !== null;
  }

  /** A heartbeat is overdue. */
  get isLate() {
    return Date.now() - this.#lastHeardAt > this.#heartbeatMs * 1.5;
  }

  /** @param {StreamError} [reason] */
  giveUp(reason = new StreamError("silent", SILENT)) {
    this.#controller.abort(reason);
  }

  /** Release everything, after `read`. */
  end() {
    clearTimeout(this.#watchdog);
    this.#controller.abort();
    this.connected = false;
  }

  /**
   * Read the stream to its end. Returns the milliseconds until the next one may follow, null for the
   * backoff to decide. Rejects with the reason of `giveUp`, or with what failed.
   */
  async read() {
    try {
      return await this.#read();
    } catch (error) {
      if (/** @type {StreamError} */ (error).code === TOO_MANY) this.#listener.nothingArrives();
      throw this.signal.aborted ? this.signal.reason : error;
    }
  }

  async #read() {
    const { url, open, credentials, state, documents, timing } = this.#shared;
    const { signal } = this;
    const headers = await credentials.headers(signal);
    this.headers = headers;
    /** @type {StreamRequest} */
    const request = {
      ...this.#shared,
      headers,
      signal,
      get lastEventId() {
        return state.lastEventId;
      },
      catchUp: () => documents.catchUp(headers, signal),
    };
    this.#expect(timing.connectedWithinMs, () => {
      this.#listener.nothingArrives();
      const why = request.alone ? `${ALONE}${request.alone}.` : "";
      this.giveUp(new StreamError("held_back", HELD_BACK + why));
    });
    let wait = null;
    for await (const messages of open(url, request)) {
      if (messages === null) await this.#takeOver(headers);
      else wait = this.#receive(messages) ?? wait;
      if (state.ending !== null) return 0;
    }
    // The history is gone, and the stream knows only how it ended.
    if (this.connected && this.#endedAs) await this.#takeOver(headers);
    return wait;
  }

  /** The run has ended, and the stream does not show how: its document knows more.
   * @param {Headers} headers */
  #takeOver(headers) {
    return this.#shared.documents.takeOver(headers, this.signal, this.#endedAs);
  }

  /** @param {Message[]} messages */
  #receive(messages) {
    this.#lastHeardAt = Date.now();
    let wait = null;
    for (const message of messages) {
      wait = this.#handle(message) ?? wait;
      if (this.#shared.state.ending !== null) break;
    }
    if (this.connected) this.#expect(this.#heartbeatMs * HEARTBEATS_MISSED, () => this.giveUp());
    this.#listener.changed();
    return wait;
  }

  /** @param {Message} message */
  #handle({ event, data, retry, id }) {
    const { state, backoff } = this.#shared;
    backoff.waitAtLeast(retry);
    let document;
    try {
      document = JSON.parse(data);
    } catch {
      // Not from the gateway: each of its messages is a JSON object.
      return null;
    }
    // In each heartbeat, until the gateway hears Redis again.
    this.error = event === "heartbeat" && document.redis === "disconnected" ? DEAF : null;
    if (event === "connected") this.#connect(document);
    else if (event === "stream:expiring") this.#listener.expiring();
    // Of one of several executions it closes nothing else.
    else if (event === "stream:closing" && !document.execution_id) {
      return this.#listener.closing(document);
    } else if (event !== "heartbeat") {
      state.receive(event, document, id);
      this.#pass(event, parseId(document.id));
    }
    return null;
  }

  /** @param {string} event
   * @param {EventId | null} id */
  #pass(event, id) {
    // Before the first event it is of the history that follows.
    if (event === "stream:reset" && this.#last) this.#catchUpTo = null;
    const [before, to] = [this.#last, this.#catchUpTo];
    this.#last = id ?? before;
    // What follows the last event of an epoch is of another one.
    const isBeyond = id && before?.epoch === to?.epoch && id.epoch !== to?.epoch;
    if (isAtOrAfter(id, to) || isBeyond) this.#catchUpTo = null;
  }

  /** @param {{ last_event_id?: string, heartbeat_seconds?: number, status?: Ending,
   *   terminal_types?: TerminalTypes }} notice */
  #connect({ last_event_id: last, heartbeat_seconds: seconds, status, terminal_types: types }) {
    this.connected = true;
    this.#catchUpTo = parseId(last);
    this.#endedAs = status && !isEnding(status) ? "ended" : (status ?? null);
    if (types) this.#shared.state.endsWith(types);
    if (seconds !== undefined && seconds > 0) this.#heartbeatMs = seconds * 1000;
    this.#listener.connected();
  }

  /** Call `late`, unless something arrives within `ms` milliseconds.
   * @param {number} ms
   * @param {() => void} late */
  #expect(ms, late) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      // A page that was busy until now reads first what has come meanwhile.
      this.#watchdog = setTimeout(late);
    }, ms);
  }
}
