// Waiting that can end early, and the page's own signals that it should.

/** A sleep that `wake` ends early. */
export class Sleeper {
  #wake = () => {};
  /** `wake` was called, and no sleep has followed. */
  isAwake = false;

  /**
   * Wait `ms` milliseconds, or until `wake`. A `wake` just before the sleep counts too.
   * @param {number} ms
   */
  async sleep(ms) {
    if (!this.isAwake) {
      let timer;
      await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
        this.#wake = resolve;
        if (ms !== Infinity) timer = setTimeout(resolve, ms);
      });
      clearTimeout(timer);
    }
    this.isAwake = false;
    this.#wake = () => {};
  }

  wake() {
    this.isAwake = true;
    this.#wake();
  }
}

/**
 * The result of `promise`; rejects with the signal's reason if `signal` is aborted first.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export async function unlessAborted(promise, signal) {
  let abort = () => {};
  const aborted = new Promise((/** @type {(value: never) => void} */ _, reject) => {
    abort = () => reject(signal.reason);
  });
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/**
 * Call `back` when the network may be back or the page is visible again, and `away` when the network
 * is gone, until `signal` is aborted. Outside browsers neither is ever called.
 * @param {{ back: () => void, away: () => void }} callbacks
 * @param {AbortSignal} signal
 */
export function watchPage({ back, away }, signal) {
  if (typeof globalThis.addEventListener !== "function") return;
  globalThis.addEventListener("online", back, { signal });
  globalThis.addEventListener("offline", away, { signal });
  const { document } = globalThis;
  document?.addEventListener("visibilitychange", () => document.hidden || back(), { signal });
}
