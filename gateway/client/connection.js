// Keeps a state up to date until there is nothing to follow any more: by a stream, and by polls while no
// stream can be had. The state is that of a run, of several, or of a list. Decides when the next stream is tried, and when the token is replaced.
//
// One stream is read in attempt.js, polls are made in poll.js. Here are facts; the status that they
// mean is found in followed.js.

import { StreamAttempt } from "./attempt.js";
import { Backoff } from "./backoff.js";
import { Refused, StreamError, streamError, Unauthorized } from "./errors.js";
import { Poll } from "./poll.js";
import { Sleeper, watchPage } from "./sleeper.js";

/** @import { Listener, Shared, State } from "./attempt.js" */
/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { Documents } from "./documents.js" */
/** @import { ConnectionOptions } from "./index.js" */
/** @import { OpenStream } from "./streams.js" */

export const TIMING = Object.freeze({
  // A proxy that holds the stream back never reports an error: polls begin after this long a silence.
  connectedWithinMs: 8_000,
  pollEveryMs: 2_000,
  // How often a stream is tried while polls are answered.
  probeEveryMs: 30_000,
  // Until the gateway says how often it sends one.
  heartbeatMs: 15_000,
});
// Polls begin as well after so many tries in a row that failed for any reason.
const POLL_AFTER_FAILURES = 3;
// A new stream in the place of one that was live may take so long and change no status.
const RENEWED_WITHIN_MS = 2_000;

export class Connection {
  /** Milliseconds since the epoch of the next try; null while none is scheduled.
   * @type {number | null} */
  nextTryAt = null;
  /** No further try can help: access is refused, or the execution was deleted. */
  givenUp = false;
  /** The stream is opened again with a new token, as planned: that is no lost connection. */
  isRenewing = false;

  /** Why the last try failed.
   * @type {StreamError | null} */
  #error = null;
  #credentials;
  #state;
  #timing;
  #changed;
  #poll;
  #closed = new AbortController();
  #backoff = new Backoff();
  #sleeper = new Sleeper();
  /** What each attempt uses.
   * @type {Shared} */
  #shared;
  /** @type {Listener} */
  #listener;
  #attempt;

  /** @param {{ url: string, open: OpenStream, documents: (request: typeof fetch) => Documents,
   *   credentials: Credentials, state: State, types: readonly string[], options: ConnectionOptions,
   *   changed: () => void }} about
   *   `changed` is called after everything that may have changed a fact or the state. */
  constructor({ documents, options, changed, ...about }) {
    const { credentials, state } = about;
    const { credentials: cookies } = options;
    this.#credentials = credentials;
    this.#state = state;
    this.#timing = { ...TIMING, ...options.timing };
    this.#changed = changed;
    // Found at each request: a page may replace its fetch later.
    /** @type {typeof fetch} */
    const request = (url, init) =>
      (options.fetch ?? fetch)(url, { credentials: cookies, cache: "no-store", ...init });
    const asked = documents(request);
    this.#poll = new Poll({
      documents: asked,
      credentials,
      everyMs: this.#timing.pollEveryMs,
      changed: (isBack) => this.#polled(isBack),
      refused: (...refusal) => this.#refused(...refusal),
    });
    this.#shared = {
      ...about,
      documents: asked,
      fetch: request,
      withCredentials: cookies === "include",
      backoff: this.#backoff,
      timing: this.#timing,
    };
    this.#listener = {
      connected: () => this.#connected(),
      nothingArrives: () => this.#poll.start(),
      expiring: () => this.#renewInTime(),
      closing: (notice) => this.#closing(notice),
      changed,
    };
    this.#attempt = new StreamAttempt(this.#shared, this.#listener);
  }

  /** Why it is not live; null while it is. */
  get error() {
    if (this.connected) return this.#attempt.error;
    return this.isRenewing ? null : this.#error;
  }

  /** A stream has begun and has not ended. */
  get connected() {
    return this.#attempt.connected;
  }

  /** Connected, and still behind what had happened before. */
  get isCatchingUp() {
    return this.#attempt.isCatchingUp;
  }

  /** The last poll was answered, and no stream is connected. */
  get isPolling() {
    return this.#poll.isWorking;
  }

  /** Runs until the execution has ended, `close` was called, or no further try can help. */
  async run() {
    watchPage(
      {
        back: () => this.tryAgain(false),
        away: () => this.#attempt.giveUp(new StreamError("offline", "The network is gone.")),
      },
      this.#closed.signal,
    );
    while (!this.isOver) {
      const wait = await this.#try();
      if (!this.isOver) await this.#pause(wait);
    }
    this.close();
  }

  close() {
    this.#closed.abort();
    this.#attempt.end();
    this.#poll.stop();
    this.#sleeper.wake();
    this.isRenewing = false;
    this.nextTryAt = null;
  }

  /**
   * Try a stream at once, unless a good one is open.
   * @param {boolean} [isOrder] also where one is being tried; else that one goes on: the network may
   *   be back, or the page is visible again, perhaps after a night's sleep
   */
  tryAgain(isOrder = true) {
    const { connected, isLate, signal } = this.#attempt;
    const isOpen = connected && !signal.aborted;
    if (isOpen && !isLate) return;
    if (isOpen || isOrder) this.#attempt.giveUp(this.#error ?? undefined);
    this.#sleeper.wake();
  }

  /** No stream follows. */
  get isOver() {
    return this.#closed.signal.aborted || this.givenUp || this.#state.ending !== null;
  }

  // One stream; returns the milliseconds until the next one.
  async #try() {
    const attempt = new StreamAttempt(this.#shared, this.#listener);
    this.#attempt = attempt;
    let wait;
    try {
      wait = await attempt.read();
      if (!this.isOver) {
        this.#error ??= new StreamError("ended", "The stream has ended before its execution.");
      }
    } catch (error) {
      wait = await this.#failed(error, attempt);
    }
    attempt.end();
    if (wait !== null) return wait;
    if (this.isPolling) return this.#timing.probeEveryMs * (0.8 + 0.4 * Math.random());
    return this.#backoff.next();
  }

  /** @param {number} ms */
  async #pause(ms) {
    if (this.#backoff.failures >= POLL_AFTER_FAILURES) this.#poll.start();
    if (ms > 0 && !this.#sleeper.isAwake) this.nextTryAt = Date.now() + ms;
    this.#changed();
    if (ms > 0) await this.#sleeper.sleep(ms);
    if (this.nextTryAt === null) return;
    this.nextTryAt = null;
    if (!this.isOver) this.#changed();
  }

  #connected() {
    this.#error = null;
    this.isRenewing = false;
    this.#credentials.accepted();
    this.#backoff.reset();
    // A `wake` from before is no reason to skip the wait after this stream.
    this.#sleeper = new Sleeper();
    this.#poll.stop();
  }

  /** @param {{ reason: string, retry_ms?: number }} notice */
  #closing({ reason, retry_ms: retryMs }) {
    const isRenewal = reason === "token_expired" && this.#credentials.canRenew;
    this.#error = new StreamError("closed", `The gateway has closed the stream: ${reason}.`);
    this.#error.reason = reason;
    this.#backoff.waitAtLeast(retryMs);
    if (reason === "forgotten") this.#end(this.#error);
    if (!isRenewal) return null;
    this.#credentials.forget();
    this.#renewing();
    return 0;
  }

  // A new stream with the new token continues after the last event of this one.
  async #renewInTime() {
    const attempt = this.#attempt;
    try {
      if (await this.#credentials.renew(false, attempt.signal)) {
        this.#renewing();
        this.#sleeper.wake();
        attempt.giveUp();
      }
    } catch {
      // It is requested again when the gateway closes the stream.
    }
  }

  #renewing() {
    this.isRenewing = true;
    setTimeout(() => {
      this.isRenewing = false;
      this.#changed();
    }, RENEWED_WITHIN_MS);
  }

  /** Returns when to try again; null for the backoff to decide.
   * @param {unknown} reason
   * @param {StreamAttempt} attempt */
  async #failed(reason, attempt) {
    if (this.isOver) return null;
    // It was given up for another one.
    if (this.isRenewing && attempt.connected) return null;
    this.isRenewing = false;
    return this.#refused(streamError(reason), attempt.headers, attempt.signal);
  }

  /** A stream has failed, or a poll was refused: a proxy may hold the stream back, and let the refusal
   * of a poll through. Returns as `#failed` does.
   * @param {StreamError} error
   * @param {Headers} headers
   * @param {AbortSignal} signal
   * @returns {Promise<number | null>} */
  async #refused(error, headers, signal) {
    // One that says the same stays: what shows it need not be drawn again.
    if (error.message !== this.#error?.message) this.#error = error;
    const isFinal = error instanceof Unauthorized;
    if (!(error instanceof Refused)) return isFinal ? this.#end(error) : null;
    this.#backoff.waitOnceAtLeast(error.retryAfterMs);
    if (error.status === 400) return this.#end(error);
    if (!error.isAboutAccess) return null;
    try {
      const isReplaced = await this.#credentials.replace(headers, signal);
      return isReplaced === null ? this.#end(error) : isReplaced ? 0 : null;
    } catch (failure) {
      return signal.aborted
        ? null
        : this.#refused(/** @type {StreamError} */ (failure), {}, signal);
    }
  }

  /** No further try can help.
   * @param {StreamError} error */
  #end(error) {
    this.#error = error;
    error.retryable = false;
    this.givenUp = true;
    this.#poll.stop();
    this.#attempt.giveUp(error);
    this.#sleeper.wake();
    return null;
  }

  /** @param {boolean} isBack the first answer after none */
  #polled(isBack) {
    if (this.isPolling) this.#credentials.accepted();
    if (this.#state.ending !== null) this.close();
    // Whatever kept the stream away may be over too.
    else if (isBack) this.tryAgain();
    this.#changed();
  }
}
