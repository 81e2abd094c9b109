// Polls a run while no stream of it can be had, from `start` to `stop`.

import { Refused } from "./trouble.js";
import { Waker } from "./waker.js";

export class Polling {
  /** The last poll was answered, and another one will follow. */
  isWell = false;
  poll;
  #credentials;
  #record;
  #everyMs;
  #changed;
  #refused;
  #running = null;

  /** `changed` is called after each poll, and `refused(error, headers, signal)` after one that was
   * refused for its token. */
  constructor({ poll, credentials, record, everyMs, changed, refused }) {
    this.poll = poll;
    this.#credentials = credentials;
    this.#record = record;
    this.#everyMs = everyMs;
    this.#changed = changed;
    this.#refused = refused;
  }

  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  /** A poll under way is given up: a stream is newer than its answer could be. */
  stop() {
    this.#running?.abort();
    this.#running = null;
    this.isWell = false;
  }

  async #run(signal) {
    const waker = new Waker();
    signal.addEventListener("abort", () => waker.wake());
    while (!signal.aborted) {
      const isWell = await this.#once(signal);
      if (signal.aborted) return;
      this.isWell = isWell;
      this.#changed();
      await waker.sleep(this.#everyMs * (0.8 + 0.4 * Math.random()));
    }
  }

  async #once(signal) {
    let headers = null;
    try {
      headers = await this.#credentials.headers(signal);
      let run;
      do {
        const after = this.#record.lastEventId;
        run = await this.poll.once({ headers, after, signal });
        if (!signal.aborted && run !== null) this.#take(run);
      } while (!signal.aborted && run?.more);
      return true;
    } catch (error) {
      // Whatever else it is, the search for a stream meets it too, and says so.
      if (error instanceof Refused && error.isAboutAccess)
        await this.#refused(error, headers, signal);
      return false;
    }
  }

  #take(run) {
    this.#record.addPolled(run.events ?? []);
    // With `more` to come, its status tells of events that were not seen yet.
    if (run.more) return;
    if (["completed", "failed", "canceled"].includes(run.status)) this.#record.endedAs(run.status);
  }
}
