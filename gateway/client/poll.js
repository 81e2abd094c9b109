// Asks for what a stream would bring, on a schedule, while no stream can be had.

import { Refused, Unauthorized } from "./errors.js";
import { Sleeper } from "./sleeper.js";

/** @import { Credentials, Headers } from "./credentials.js" */
/** @import { Documents } from "./documents.js" */
/** @typedef {{ documents: Documents, credentials: Credentials, everyMs: number,
 *   changed: (isBack: boolean) => void,
 *   refused: (error: Refused | Unauthorized, headers: Headers, signal: AbortSignal) => unknown }} About
 *   `changed` is called after each poll, `refused` after one that was refused. */

export class Poll {
  /** The last poll was answered, and another one will follow. */
  isWorking = false;
  #about;
  /** @type {AbortController | null} */
  #running = null;

  /** @param {About} about */
  constructor(about) {
    this.#about = about;
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

  /** @param {AbortSignal} signal */
  async #repeat(signal) {
    const sleeper = new Sleeper();
    signal.addEventListener("abort", () => sleeper.wake());
    while (!signal.aborted) {
      const isWorking = await this.#once(signal);
      if (signal.aborted) return;
      const isBack = isWorking && !this.isWorking;
      this.isWorking = isWorking;
      this.#about.changed(isBack);
      await sleeper.sleep(this.#about.everyMs * (0.8 + 0.4 * Math.random()));
    }
  }

  /** One poll; returns whether it was answered.
   * @param {AbortSignal} signal */
  async #once(signal) {
    const { credentials, documents, refused } = this.#about;
    // The stream asks first, when it is tried: else people would be asked twice.
    if (credentials.hasFailed) return false;
    /** @type {Headers} */
    let headers = {};
    try {
      headers = await credentials.headers(signal);
      await documents.catchUp(headers, signal);
      return true;
    } catch (error) {
      // Any other error: the next try of a stream meets it too, and reports it.
      const isRefused = error instanceof Refused || error instanceof Unauthorized;
      if (isRefused && !signal.aborted) await refused(error, headers, signal);
      return false;
    }
  }
}
