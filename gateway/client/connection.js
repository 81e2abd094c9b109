// Keeps a record up to date until its execution has ended: by a stream; and by polls while no stream
// can be had. Two loops: one has a stream or seeks one, the other (polling.js) polls when asked to.
//
// How a stream is read stands in streams.js, what was seen in record.js. It shows facts; what they
// are called is the matter of subscription.js.

import { Backoff } from "./backoff.js";
import { Polling } from "./polling.js";
import { byEventSource, byFetch, canStream } from "./streams.js";
import { Refused } from "./trouble.js";
import { Waker, watchPage } from "./waker.js";

export const TIMING = Object.freeze({
  // A proxy that swallows the stream never fails it: who hears nothing for so long polls.
  connectedWithinMs: 8_000,
  pollEveryMs: 2_000,
  // So often a stream is sought while polls go well.
  probeEveryMs: 30_000,
  // Until the gateway says what it is.
  heartbeatMs: 15_000,
});
// A connection that is mute for so many heartbeats is dead, whatever the browser says.
const HEARTBEATS_MISSED = 2.5;
// So many tries in a row that failed, of whatever, and polls begin as well.
const POLL_AFTER_FAILURES = 3;

const NOTICES = ["connected", "heartbeat", "stream:closing", "stream:expiring"];
const SHOWN_NOTICES = ["stream:gap", "stream:reset"];

export class Connection {
  /** A stream has begun and has not ended. */
  connected = false;
  /** Milliseconds since the epoch of the next try; null while nothing is waited for. */
  nextTryAt = null;
  /** What the last try failed of; null while a stream is connected. */
  error = null;
  /** The gateway refuses, and no new token helps: nothing is tried any more. */
  givenUp = false;

  #url;
  #credentials;
  #record;
  #types;
  #timing;
  #changed;
  #open;
  #polling;
  #over = new AbortController();
  #attempt = new AbortController();
  #backoff = new Backoff();
  #retry = new Waker();
  #watchdog;
  #heartbeatMs;
  #heardAt = 0;
  // The last event of the history that this stream began with.
  #catchUpTo = null;
  // How the execution had ended before this stream began.
  #endedAs = null;
  // The headers with which the last stream was asked for.
  #headers = {};
  #isRenewing = false;
  // The token came after a refusal, and was not good for anything yet.
  #hasRenewed = false;

  /** `changed` is called after everything that may have changed a fact or the record. */
  constructor({ url, poll, credentials, record, types, transport, timing, changed }) {
    this.#url = url;
    this.#credentials = credentials;
    this.#record = record;
    this.#types = [...new Set([...types, ...NOTICES, ...SHOWN_NOTICES])];
    this.#timing = { ...TIMING, ...timing };
    this.#heartbeatMs = this.#timing.heartbeatMs;
    this.#changed = changed;
    this.#open = (transport ? transport === "fetch" : canStream()) ? byFetch : byEventSource;
    this.#polling = new Polling({
      poll,
      credentials,
      record,
      everyMs: this.#timing.pollEveryMs,
      changed: () => this.#polled(),
      refused: (...refusal) => this.#pollRefused(...refusal),
    });
  }

  /** The last poll was answered, and no stream is connected. */
  get isPolling() {
    return this.#polling.isWell;
  }

  /** Connected, and not yet through what had happened before. */
  get isCatchingUp() {
    return this.connected && this.#catchUpTo !== null && !this.#record.hasSeen(this.#catchUpTo);
  }

  /** Go on until the execution has ended, `close` was called, or the gateway refuses for good. */
  async run() {
    watchPage({ back: () => this.#back(), away: () => this.#away() }, this.#over.signal);
    while (!this.#isOver) {
      const wait = await this.#try();
      if (!this.#isOver) await this.#pause(wait);
    }
    this.close();
  }

  close() {
    this.#over.abort();
    this.#attempt.abort();
    this.#polling.stop();
    this.#retry.wake();
    this.nextTryAt = null;
  }

  get #isOver() {
    return this.#over.signal.aborted || this.givenUp || this.#record.ending !== null;
  }

  // One stream, from its request to its end; the milliseconds until the next one.
  async #try() {
    this.#attempt = new AbortController();
    const { signal } = this.#attempt;
    let wait = null;
    try {
      wait = await this.#stream(signal);
      if (!this.#isOver) this.error ??= new Error("The stream has ended before its execution.");
    } catch (error) {
      wait = await this.#failed(signal.aborted ? signal.reason : error);
    }
    clearTimeout(this.#watchdog);
    this.#attempt.abort();
    this.connected = false;
    if (wait !== null) return wait;
    if (this.isPolling) return this.#timing.probeEveryMs * (0.8 + 0.4 * Math.random());
    return this.#backoff.next();
  }

  // Reads one stream to its end; 0 if the next one may follow at once.
  async #stream(signal) {
    const headers = await this.#credentials.headers(signal);
    this.#headers = headers;
    this.#expect(
      this.#timing.connectedWithinMs,
      "No stream arrives, though nothing refuses it: does a proxy hold it back?",
      () => this.#polling.start(),
    );
    let wait = null;
    for await (const messages of this.#open(this.#url, {
      headers,
      lastEventId: this.#record.lastEventId,
      signal,
      types: this.#types,
    })) {
      if (messages === null) await this.#learnTheEnd(headers, signal);
      else wait = this.#hear(messages) ?? wait;
      if (this.#isOver) return 0;
    }
    // Its history is gone, and the end is all that is still known.
    if (this.connected && this.#endedAs) this.#record.endedAs(this.#endedAs);
    return wait;
  }

  // A reader that has seen the end gets no stream, and no word about what the end was.
  async #learnTheEnd(headers, signal) {
    const run = await this.#polling.poll.once({ headers, after: null, signal });
    this.#record.endedAs(run?.status ?? "completed");
  }

  #hear(messages) {
    this.#heardAt = Date.now();
    let wait = null;
    for (const message of messages) {
      wait = this.#handle(message) ?? wait;
      if (this.#record.ending !== null) break;
    }
    if (this.connected) {
      this.#expect(this.#heartbeatMs * HEARTBEATS_MISSED, "The stream has gone mute.");
    }
    this.#changed();
    return wait;
  }

  #handle({ event, data, retry }) {
    let document;
    try {
      document = JSON.parse(data);
    } catch {
      // Not the gateway's: every frame of it holds a JSON object.
      return null;
    }
    this.#backoff.askedFor(retry);
    if (event === "connected") this.#connect(document);
    else if (event === "stream:gap") this.#record.gap(document);
    else if (event === "stream:reset") this.#record.reset(document);
    else if (event === "stream:expiring") this.#renewInTime();
    else if (event === "stream:closing") return this.#closing(document);
    else if (event !== "heartbeat") this.#record.add(document);
    return null;
  }

  #connect({ last_event_id: last, heartbeat_seconds: seconds, status }) {
    this.connected = true;
    this.error = null;
    this.#catchUpTo = last ?? null;
    this.#endedAs = status ?? null;
    this.#hasRenewed = false;
    if (seconds > 0) this.#heartbeatMs = seconds * 1000;
    this.#backoff.reset();
    // Somebody looked while this one was sought: that is no reason to hurry after its end.
    this.#retry = new Waker();
    this.#polling.stop();
  }

  #closing({ reason, retry_ms: retryMs }) {
    this.error = new Error(`The gateway has closed the stream: ${reason}.`);
    this.#backoff.askedFor(retryMs);
    if (reason !== "token_expired" || !this.#credentials.canRenew) return null;
    this.#credentials.forget();
    return 0;
  }

  // A new stream with the new token goes on where this one was.
  async #renewInTime() {
    const attempt = this.#attempt;
    try {
      if (await this.#credentials.renew({ fresh: false, signal: attempt.signal })) {
        this.#backoff.skip();
        attempt.abort(new Error("There is a new token."));
      }
    } catch {
      // It is asked for again when the gateway closes the stream.
    }
  }

  // Whether to try again, and when; null for the backoff to decide.
  async #failed(error) {
    if (this.#isOver) return null;
    this.error = error;
    if (!(error instanceof Refused)) return null;
    this.#backoff.askedOnceFor(error.retryAfterMs);
    if (!error.isAboutAccess) return null;
    return (await this.#hasAnother(this.#headers, this.#attempt.signal)) ? 0 : null;
  }

  // A proxy may swallow the stream, and let the refusal through.
  async #pollRefused(error, headers, signal) {
    this.error = error;
    await this.#hasAnother(headers, signal);
    if (this.givenUp) this.close();
  }

  // These headers were refused: whether there is another token to try. It is given up if the last
  // one came after a refusal itself, or if there can be no other.
  async #hasAnother({ Authorization: refused }, signal) {
    // The stream and the polls may be refused for the same one.
    if (this.#isRenewing || refused !== this.#credentials.authorization) return true;
    this.givenUp = !this.#credentials.canRenew || this.#hasRenewed;
    if (this.givenUp) return false;
    this.#isRenewing = this.#hasRenewed = true;
    try {
      await this.#credentials.renew({ fresh: true, signal });
    } catch (trouble) {
      this.error = trouble;
      this.#hasRenewed = false;
    }
    this.#isRenewing = false;
    return this.#hasRenewed;
  }

  async #pause(ms) {
    if (this.#backoff.failures >= POLL_AFTER_FAILURES) this.#polling.start();
    this.nextTryAt = Date.now() + ms;
    this.#changed();
    if (ms > 0) await this.#retry.sleep(ms);
    this.nextTryAt = null;
    if (!this.#isOver) this.#changed();
  }

  // Gives the attempt up with these words, unless something is heard in time.
  #expect(ms, words, otherwise = () => {}) {
    clearTimeout(this.#watchdog);
    const attempt = this.#attempt;
    this.#watchdog = setTimeout(() => {
      otherwise();
      attempt.abort(new Error(words));
    }, ms);
  }

  #polled() {
    if (this.isPolling) this.#hasRenewed = false;
    if (this.#record.ending !== null) this.close();
    this.#changed();
  }

  // The network may be back, or the page is looked at again, perhaps after a night's sleep.
  #back() {
    // An attempt that was just given up is none any more, though nothing has noticed yet.
    if (!this.connected || this.#attempt.signal.aborted) this.#retry.wake();
    else if (Date.now() - this.#heardAt > this.#heartbeatMs * 1.5) {
      this.#backoff.skip();
      this.#attempt.abort(new Error("The stream has gone mute."));
    }
  }

  #away() {
    this.#attempt.abort(new Error("The network is gone."));
  }
}
