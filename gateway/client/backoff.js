// How long to wait before the next try, so that thousands of tabs do not come back at one moment.

const CAP_MS = 30_000;
const FIRST_MS = 1_000;

/** Grows with each failure, and is drawn anew each time. */
export class Backoff {
  #failures = 0;
  #asked = null;
  #askedOnce = null;
  #isSkipped = false;

  /** The gateway asks whoever comes back to wait so many milliseconds (`retry:`), from now on. */
  askedFor(ms) {
    if (Number.isFinite(ms)) this.#asked = ms;
  }

  /** It asks for that this time (`Retry-After`). */
  askedOnceFor(ms) {
    if (Number.isFinite(ms)) this.#askedOnce = ms;
  }

  /** It has worked: the next failure is the first again. */
  reset() {
    this.#failures = 0;
  }

  /** The next try is no failure's: it may follow at once. */
  skip() {
    this.#isSkipped = true;
  }

  get failures() {
    return this.#failures;
  }

  /** Count a failure; the milliseconds to wait for. */
  next() {
    if (this.#isSkipped) {
      this.#isSkipped = false;
      return 0;
    }
    const first = this.#askedOnce ?? this.#asked ?? FIRST_MS;
    this.#askedOnce = null;
    const longest = Math.min(Math.max(CAP_MS, first), first * 2 ** this.#failures);
    this.#failures += 1;
    // The gateway has drawn what it asks for already: never sooner than that.
    return first + Math.random() * Math.max(longest - first, first / 2);
  }
}
