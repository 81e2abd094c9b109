// Several connections as one: it is as good as the worst of them.

/** @import { Connection } from "./connection.js" */
/** @import { Source } from "./followed.js" */

/** @implements {Source} */
export class Together {
  #all;
  #more;

  /** @param {Connection[]} all
   * @param {{ end: () => void, rest: () => Promise<unknown> }} more `end` is called at `close`; `rest` is
   *   what is awaited beside the connections */
  constructor(all, more) {
    this.#all = all;
    this.#more = more;
  }

  async run() {
    await Promise.all(this.#all.map((one) => one.run()));
    await this.#more.rest();
  }

  close() {
    this.#more.end();
    for (const one of this.#all) one.close();
  }

  tryAgain() {
    for (const one of this.#going) one.tryAgain();
  }

  get #going() {
    return this.#all.filter((one) => !one.isOver);
  }

  get connected() {
    return this.#going.every((one) => one.connected);
  }

  /** One of them, and no other one goes on. */
  get givenUp() {
    return this.#going.length === 0 && this.#all.some((one) => one.givenUp);
  }

  get error() {
    return this.#all.find((one) => one.error && (one.givenUp || !one.isOver))?.error ?? null;
  }

  get isCatchingUp() {
    return this.#going.some((one) => one.isCatchingUp);
  }

  get isPolling() {
    return this.#going.some((one) => one.isPolling);
  }

  get isRenewing() {
    return this.#going.some((one) => one.isRenewing);
  }

  get nextTryAt() {
    const times = this.#going.map((one) => one.nextTryAt).filter((time) => time !== null);
    return times.length > 0 ? Math.min(...times) : null;
  }
}
