// Keeps the run state up to date until its execution has ended: by a stream, and by polls while no
// stream can be had. Decides when the next stream is tried, and when the token is replaced.
//
// One stream is read in attempt.js, polls are made in poll.js. Here are facts; the status that they
// mean is found in subscription.js.

import { StreamAttempt } from "./attempt.js";
import { Backoff } from "./backoff.js";
import { Refused } from "./http_error.js";
import { Poll } from "./poll.js";
import { Sleeper, watchPage } from "./sleeper.js";
import { byEventSource, byFetch, canStream } from "./streams.js";

/** @import { Listener, Shared } from "./attempt.js" */
/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { Options } from "./index.js" */
/** @import { RunState } from "./run_state.js" */

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

const NOTICES = ["connected", "heartbeat", "stream:closing", "stream:expiring"];
const SHOWN_NOTICES = ["stream:gap", "stream:reset"];

export class Connection {
  /** Milliseconds since the epoch of the next try; null while none is scheduled.
   * @type {number | null} */
  nextTryAt = null;
  /** Why the last try failed; null while a stream is connected.
   * @type {Error | null} */
  error = null;

  #credentials;
  #state;
  #timing;
  #changed;
  #poll;
  #closed = new AbortController();
  #backoff = new Backoff();
  #sleeper = new Sleeper();
  #isForgotten = false;
  /** What each attempt uses.
   * @type {Shared} */
  #shared;
  /** @type {Listener} */
  #listener;
  #attempt;

  /** @param {{ streamUrl: string, runUrl: string, credentials: Credentials, state: RunState,
   *   types: readonly string[], transport: Options["transport"], timing: Options["timing"],
   *   changed: () => void }} about
   *   `changed` is called after everything that may have changed a fact or the run state. */
  constructor({ streamUrl, runUrl, credentials, state, types, transport, timing, changed }) {
    this.#credentials = credentials;
    this.#state = state;
    this.#timing = { ...TIMING, ...timing };
    this.#changed = changed;
    this.#poll = new Poll({
      url: runUrl,
      credentials,
      state,
      everyMs: this.#timing.pollEveryMs,
      changed: () => this.#polled(),
      refused: (...refusal) => this.#pollRefused(...refusal),
    });
    this.#shared = {
      url: streamUrl,
      open: (transport ? transport === "fetch" : canStream()) ? byFetch : byEventSource,
      types: [...new Set([...types, ...NOTICES, ...SHOWN_NOTICES])],
      credentials,
      state,
      poll: this.#poll,
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

  /** The gateway refuses access, and no new token helps; or the execution was deleted. */
  get givenUp() {
    return this.#isForgotten || this.#credentials.isExhausted;
  }

  /** Runs until the execution has ended, `close` was called, or the gateway refuses access. */
  async run() {
    const page = { back: () => this.#pageBack(), away: () => this.#networkGone() };
    watchPage(page, this.#closed.signal);
    while (!this.#isOver) {
      const wait = await this.#try();
      if (!this.#isOver) await this.#pause(wait);
    }
    this.close();
  }

  close() {
    this.#closed.abort();
    this.#attempt.end();
    this.#poll.stop();
    this.#sleeper.wake();
    this.nextTryAt = null;
  }

  get #isOver() {
    return this.#closed.signal.aborted || this.givenUp || this.#state.ending !== null;
  }

  // One stream; returns the milliseconds until the next one.
  async #try() {
    const attempt = new StreamAttempt(this.#shared, this.#listener);
    this.#attempt = attempt;
    let wait;
    try {
      wait = await attempt.read();
      if (!this.#isOver) this.error ??= new Error("The stream has ended before its execution.");
    } catch (error) {
      wait = await this.#failed(/** @type {Error} */ (error), attempt);
    }
    attempt.end();
    if (wait !== null) return wait;
    if (this.isPolling) return this.#timing.probeEveryMs * (0.8 + 0.4 * Math.random());
    return this.#backoff.next();
  }

  /** @param {number} ms */
  async #pause(ms) {
    if (this.#backoff.failures >= POLL_AFTER_FAILURES) this.#poll.start();
    this.nextTryAt = Date.now() + ms;
    this.#changed();
    if (ms > 0) await this.#sleeper.sleep(ms);
    this.nextTryAt = null;
    if (!this.#isOver) this.#changed();
  }

  #connected() {
    this.error = null;
    this.#credentials.accepted();
    this.#backoff.reset();
    // A `wake` from before is no reason to skip the wait after this stream.
    this.#sleeper = new Sleeper();
    this.#poll.stop();
  }

  /** @param {{ reason: string, retry_ms?: number }} notice */
  #closing({ reason, retry_ms: retryMs }) {
    this.error = new Error(`The gateway has closed the stream: ${reason}.`);
    this.#backoff.waitAtLeast(retryMs);
    if (reason === "forgotten") this.#isForgotten = true;
    if (reason !== "token_expired" || !this.#credentials.canRenew) return null;
    this.#credentials.forget();
    return 0;
  }

  // A new stream with the new token continues after the last event of this one.
  async #renewInTime() {
    const attempt = this.#attempt;
    try {
      if (await this.#credentials.renew({ fresh: false, signal: attempt.signal })) {
        this.#backoff.skip();
        attempt.giveUp(new Error("There is a new token."));
      }
    } catch {
      // It is requested again when the gateway closes the stream.
    }
  }

  /** Returns when to try again; null for the backoff to decide.
   * @param {Error} error
   * @param {StreamAttempt} attempt */
  async #failed(error, attempt) {
    if (this.#isOver) return null;
    this.error = error;
    if (!(error instanceof Refused)) return null;
    this.#backoff.waitOnceAtLeast(error.retryAfterMs);
    if (!error.isAboutAccess) return null;
    return (await this.#replaceToken(attempt.headers, attempt.signal)) ? 0 : null;
  }

  /** A proxy may hold the stream back, and let the refusal of a poll through.
   * @param {Refused} error
   * @param {Headers} headers
   * @param {AbortSignal} signal */
  async #pollRefused(error, headers, signal) {
    this.error = error;
    await this.#replaceToken(headers, signal);
    if (this.givenUp) this.close();
  }

  /** Returns whether there is another token to try than the refused one.
   * @param {Partial<Headers>} refused
   * @param {AbortSignal} signal */
  async #replaceToken(refused, signal) {
    try {
      return await this.#credentials.replace(refused, signal);
    } catch (error) {
      this.error = /** @type {Error} */ (error);
      return false;
    }
  }

  #polled() {
    if (this.isPolling) this.#credentials.accepted();
    if (this.#state.ending !== null) this.close();
    this.#changed();
  }

  // The network may be back, or the page is visible again, perhaps after a night's sleep.
  #pageBack() {
    const attempt = this.#attempt;
    // One that was just given up does not count, even if its end is not noticed yet.
    if (!attempt.connected || attempt.signal.aborted) this.#sleeper.wake();
    else if (attempt.isLate) {
      this.#backoff.skip();
      attempt.giveUp();
    }
  }

  #networkGone() {
    this.#attempt.giveUp(new Error("The network is gone."));
  }
}
