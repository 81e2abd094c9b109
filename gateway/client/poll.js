// Asks for the run as one document, on a schedule, while no stream can be had.

import { isEnding } from "./ending.js";
import { Refused, refusalOf } from "./http_error.js";
import { Sleeper } from "./sleeper.js";

/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { Run } from "./index.js" */
/** @import { RunState } from "./run_state.js" */

/** One page of the run; with `more`, its status may already be that after the later pages.
 * @typedef {Run & { more?: boolean }} Page */

// A long history comes in several pages, so that the gateway never holds all of it.
const LOGS = "include_logs=true&limit=500";

export class Poll {
  /** The last poll was answered, and another one will follow. */
  isWorking = false;
  #url;
  #credentials;
  #state;
  #everyMs;
  #changed;
  #refused;
  /** @type {AbortController | null} */
  #running = null;
  /** The answer to the last request, and what that asked for.
   * @type {{ tag: string | null, after: string | null }} */
  #last = { tag: null, after: null };

  /** @param {{ url: string, credentials: Credentials, state: RunState, everyMs: number,
   *   changed: () => void,
   *   refused: (error: Refused, headers: Headers, signal: AbortSignal) => Promise<void> }} about
   *   `changed` is called after each poll, `refused` after one whose token was refused. */
  constructor({ url, credentials, state, everyMs, changed, refused }) {
    this.#url = url;
    this.#credentials = credentials;
    this.#state = state;
    this.#everyMs = everyMs;
    this.#changed = changed;
    this.#refused = refused;
  }

  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#repeat(this.#running.signal);
  }

  /** Stop, and drop the answer to a running request: a stream is newer. */
  stop() {
    this.#running?.abort();
    this.#running = null;
    this.isWorking = false;
  }

  /**
   * One request: the run with a page of the events after `after`; null if nothing has changed since
   * the last one. Throws `Refused`.
   * @param {{ headers: Headers, after: string | null, signal: AbortSignal }} request
   * @returns {Promise<Page | null>}
   */
  async request({ headers, after, signal }) {
    const known = this.#last.after === after ? this.#last.tag : null;
    const query = after === null ? LOGS : `${LOGS}&after=${encodeURIComponent(after)}`;
    const response = await fetch(`${this.#url}?${query}`, {
      headers: known === null ? headers : { ...headers, "If-None-Match": known },
      // Else the browser's own cache would answer for the gateway.
      cache: "no-store",
      signal,
    });
    if (response.status === 304) return null;
    if (!response.ok) throw await refusalOf(response);
    this.#last = { tag: response.headers.get("ETag"), after };
    return response.json();
  }

  /** @param {AbortSignal} signal */
  async #repeat(signal) {
    const sleeper = new Sleeper();
    signal.addEventListener("abort", () => sleeper.wake());
    while (!signal.aborted) {
      const isWorking = await this.#once(signal);
      if (signal.aborted) return;
      this.isWorking = isWorking;
      this.#changed();
      await sleeper.sleep(this.#everyMs * (0.8 + 0.4 * Math.random()));
    }
  }

  /** One poll; returns whether it was answered.
   * @param {AbortSignal} signal */
  async #once(signal) {
    const headers = await this.#credentials.headers(signal).catch(() => null);
    if (headers === null) return false;
    try {
      let page;
      do {
        const after = this.#state.lastEventId;
        page = await this.request({ headers, after, signal });
        if (!signal.aborted && page !== null) this.#take(page);
      } while (!signal.aborted && page?.more);
      return true;
    } catch (error) {
      // Any other error: the next try of a stream meets it too, and reports it.
      if (error instanceof Refused && error.isAboutAccess) {
        await this.#refused(error, headers, signal);
      }
      return false;
    }
  }

  /** @param {Page} page */
  #take({ events, more, status }) {
    this.#state.addPolled(events ?? []);
    if (!more && isEnding(status)) this.#state.endedAs(status);
  }
}
