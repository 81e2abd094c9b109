// Waiting that can be cut short: by whoever waits, by a network that is back, by a page that is
// looked at again.

/** A sleeper, and what wakes it. */
export class Waker {
  #wake = () => {};
  #isAwake = false;

  /** Wait `ms` milliseconds, or until `wake`; one that came just before counts too. */
  async sleep(ms) {
    if (!this.#isAwake) {
      let timer;
      await new Promise((resolve) => {
        this.#wake = resolve;
        if (ms !== Infinity) timer = setTimeout(resolve, ms);
      });
      clearTimeout(timer);
    }
    this.#isAwake = false;
    this.#wake = () => {};
  }

  wake() {
    this.#isAwake = true;
    this.#wake();
  }
}

/** What `promise` comes to; rejects with the signal's reason if `signal` is aborted first. */
export async function unlessAborted(promise, signal) {
  let abort;
  const aborted = new Promise((_, reject) => {
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

/** Call `back` when the network may be back or the page is looked at again, and `away` when the
 * network is gone; until `signal` is aborted. Outside browsers neither is ever called. */
export function watchPage({ back, away }, signal) {
  if (typeof globalThis.addEventListener !== "function") return;
  globalThis.addEventListener("online", back, { signal });
  globalThis.addEventListener("offline", away, { signal });
  const { document } = globalThis;
  document?.addEventListener("visibilitychange", () => document.hidden || back(), { signal });
}
