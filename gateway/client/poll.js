// Asks for the run as one document, on a schedule, while no stream can be had.

import { Refused, refusalOf } from "./http_error.js";
import { Sleeper } from "./sleeper.js";

/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { RunDocument, RunState } from "./run_state.js" */

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
   * The run with all its events after `after`. Throws `Refused`.
   * @param {{ headers: Headers, after: string | null, signal: AbortSignal }} request
   * @returns {Promise<RunDocument>}
   */
  async whole({ headers, after, signal }) {
    const events = [];
    /** @type {RunDocument | null} */
    let page = null;
    do {
      page = await this.#request({ headers, after: page?.last_event_id ?? after, signal }, null);
      events.push(...(page?.events ?? []));
    } while (page?.more);
    return { ...page, events };
  }

  /**
   * One request: the run with a page of the events after `after`; null if nothing has changed since
   * the answer with the tag `known`.
   * @param {{ headers: Headers, after: string | null, signal: AbortSignal }} request
   * @param {string | null} known
   * @returns {Promise<RunDocument & { tag: string | null } | null>}
   */
  async #request({ headers, after, signal }, known) {
    const query = after === null ? LOGS : `${LOGS}&after=${encodeURIComponent(after)}`;
    const response = await fetch(`${this.#url}?${query}`, {
      headers: known === null ? headers : { ...headers, "If-None-Match": known },
      // Else the browser's own cache would answer for the gateway.
      cache: "no-store",
      signal,
    });
    if (response.status === 304) return null;
    if (!response.ok) throw await refusalOf(response);
    return { ...(await response.json()), tag: response.headers.get("ETag") };
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
        const known = this.#last.after === after ? this.#last.tag : null;
        page = await this.#request({ headers, after, signal }, known);
        if (signal.aborted || page === null) break;
        this.#last = { tag: page.tag, after };
        this.#state.addPolled(page);
      } while (page.more);
      return true;
    } catch (error) {
      // Any other error: the next try of a stream meets it too, and reports it.
      if (error instanceof Refused && error.isAboutAccess) {
        await this.#refused(error, headers, signal);
      }
      return false;
    }
  }
}
