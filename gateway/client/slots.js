// Over HTTP/1.1 a browser opens six connections to one origin, for all of its tabs together. Streams
// take five at most: the last one is for polls, and for all other requests.

import { ANSWER_MS } from "./election.js";
import { StreamError } from "./errors.js";

/** @import { Page } from "./election.js" */
/** @import { OpenStream } from "./streams.js" */
/** @typedef {{ name: string, since: number, id: number }} Slot */

const SLOTS = 5;
export const TOO_MANY = "too_many_streams";
const WORDS = "Too many streams of this page's browser: polling.";

/**
 * `open`, which throws a `StreamError` with the code `TOO_MANY` while the tabs of this origin have no slot
 * left. No other slot of the same `name` counts: it is about to be given back.
 * @param {OpenStream} open
 * @param {Page} page
 * @param {string} name
 * @returns {OpenStream}
 */
export const limited = (open, page, name) =>
  async function* limited(url, request) {
    if (!isHttp1(url, page)) return yield* open(url, request);
    const channel = new page.BroadcastChannel(`sse-gateway ${new URL(url).origin}`);
    const over = new AbortController();
    const { signal } = request;
    const abort = () => over.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    try {
      await take(channel, name, over);
      yield* open(url, { ...request, signal: over.signal });
    } finally {
      signal.removeEventListener("abort", abort);
      channel.close();
    }
  };

/** @param {BroadcastChannel} channel
 * @param {string} name
 * @param {AbortController} over aborted where there is no slot, also if a busy tab says it late */
async function take(channel, name, over) {
  const own = { name, since: Date.now(), id: Math.random() };
  let isTaken = false;
  /** @type {Set<number>} */
  const others = new Set();
  channel.onmessage = ({ data: { asks, takes, from } }) => {
    // An answer to another tab is not counted: it may be old, or of one that got no slot itself.
    if (takes === own.id) others.add(from);
    if (asks && asks.name !== name) {
      // Of those that ask at the same time, the first ones take the slots. One that has just come may
      // be before this one, and has not heard it.
      const isFirst = isTaken || (own.since - asks.since || own.id - asks.id) < 0;
      if (isFirst) channel.postMessage({ takes: asks.id, from: own.id });
      else others.add(asks.id);
    }
    if (others.size >= SLOTS) over.abort(new StreamError(TOO_MANY, WORDS));
  };
  channel.postMessage({ asks: own });
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  over.signal.throwIfAborted();
  isTaken = true;
}

/** Whether the gateway is reached over HTTP/1.1: browsers speak nothing newer without TLS.
 * @param {string} url
 * @param {Page} page */
function isHttp1(url, { performance }) {
  const { protocol, origin } = new URL(url);
  const entries = performance?.getEntriesByType("resource") ?? [];
  const known = entries.findLast((entry) => entry.name.startsWith(origin) && nextHop(entry));
  return protocol === "http:" || (known !== undefined && nextHop(known) === "http/1.1");
}

/** Empty where the gateway is of another origin.
 * @param {PerformanceEntry} entry */
const nextHop = (entry) => /** @type {PerformanceResourceTiming} */ (entry).nextHopProtocol;
