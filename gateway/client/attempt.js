// One stream, from its request to its end: reads it into the run state, and gives it up when it is
// silent for too long. What follows it is decided in connection.js.

import { isEnding } from "./ending.js";
import { isAtOrAfter, parseId } from "./ids.js";

/** @import { Backoff } from "./backoff.js" */
/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { Ending, TerminalTypes } from "./ending.js" */
/** @import { EventId } from "./ids.js" */
/** @import { Poll } from "./poll.js" */
/** @import { ExecutionEvent } from "./index.js" */
/** @import { RunState } from "./run_state.js" */
/** @import { Message } from "./sse.js" */
/** @import { OpenStream } from "./streams.js" */

// A connection that is silent for so many heartbeats is dead, even if the browser does not report it.
const HEARTBEATS_MISSED = 2.5;
const SILENT = "The stream is silent: no event and no heartbeat arrives.";

/**
 * What every stream of a subscription uses.
 * @typedef {object} Shared
 * @property {string} url
 * @property {OpenStream} open
 * @property {readonly string[]} types
 * @property {Credentials} credentials
 * @property {RunState} state
 * @property {Poll} poll
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
  /** The headers of the request.
   * @type {Partial<Headers>} */
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

  /** @param {Error} [reason] */
  giveUp(reason = new Error(SILENT)) {
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
      throw this.signal.aborted ? this.signal.reason : error;
    }
  }

  async #read() {
    const { url, open, types, credentials, state, timing } = this.#shared;
    const headers = await credentials.headers(this.signal);
    this.headers = headers;
    this.#expect(timing.connectedWithinMs, () => {
      this.#listener.nothingArrives();
      this.giveUp(new Error("No stream arrives, and no error. Does a proxy hold it back?"));
    });
    const { lastEventId } = state;
    let wait = null;
    for await (const messages of open(url, { headers, lastEventId, signal: this.signal, types })) {
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
  async #takeOver(headers) {
    const { poll, state } = this.#shared;
    const status = this.#endedAs ?? undefined;
    try {
      const after = state.run.last_event_id;
      const document = await poll.whole({ headers, after, signal: this.signal });
      state.takeOver(isEnding(document.status) ? document : { ...document, status });
    } catch (error) {
      if (!status || this.signal.aborted) throw error;
      state.takeOver({ status });
    }
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
  #handle({ event, data, retry }) {
    const { state, backoff } = this.#shared;
    let document;
    try {
      document = JSON.parse(data);
    } catch {
      // Not from the gateway: each of its messages is a JSON object.
      return null;
    }
    backoff.waitAtLeast(retry);
    if (event === "connected") this.#connect(document);
    else if (event === "stream:gap") state.gap(document);
    else if (event === "stream:reset") this.#reset(document);
    else if (event === "stream:expiring") this.#listener.expiring();
    else if (event === "stream:closing") return this.#listener.closing(document);
    else if (event !== "heartbeat") this.#add(document);
    return null;
  }

  /** @param {ExecutionEvent} event */
  #add(event) {
    this.#shared.state.add(event);
    const id = "id" in event ? parseId(event.id) : null;
    const [before, to] = [this.#last, this.#catchUpTo];
    this.#last = id ?? before;
    // What follows the last event of an epoch is of another one.
    const isBeyond = id && before?.epoch === to?.epoch && id.epoch !== to?.epoch;
    if (isAtOrAfter(id, to) || isBeyond) this.#catchUpTo = null;
  }

  /** @param {{ reason: string }} notice */
  #reset(notice) {
    this.#shared.state.reset(notice);
    // Else it is of the history that follows.
    if (this.#last) this.#catchUpTo = null;
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
    this.#watchdog = setTimeout(late, ms);
  }
}
