// How long to wait before the next try, so that thousands of tabs do not return at the same moment.

const CAP_MS = 30_000;
const FIRST_MS = 1_000;

/** A random wait that grows with each failure. */
export class Backoff {
  #failures = 0;
  /** @type {number | null} */
  #atLeast = null;
  /** @type {number | null} */
  #onceAtLeast = null;

  /**
   * The gateway asks to wait this many milliseconds before each return (`retry:`), from now on.
   * @param {unknown} ms
   */
  waitAtLeast(ms) {
    if (typeof ms === "number" && Number.isFinite(ms)) this.#atLeast = ms;
  }

  /**
   * The gateway asks to wait this many milliseconds before the next return (`Retry-After`).
   * @param {unknown} ms
   */
  waitOnceAtLeast(ms) {
    if (typeof ms === "number" && Number.isFinite(ms)) this.#onceAtLeast = ms;
  }

  /** A try was successful: the next failure counts as the first. */
  reset() {
    this.#failures = 0;
  }

  get failures() {
    return this.#failures;
  }

  /** Count a failure; returns the milliseconds to wait. */
  next() {
    const first = this.#onceAtLeast ?? this.#atLeast ?? FIRST_MS;
    this.#onceAtLeast = null;
    const longest = Math.min(Math.max(CAP_MS, first), first * 2 ** this.#failures);
    this.#failures += 1;
    // What the gateway asks for is already random: never return sooner than that.
    return first + Math.random() * Math.max(longest - first, first / 2);
  }
}
