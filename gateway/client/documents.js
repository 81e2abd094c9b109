// A run as the gateway's document of it: what a stream would bring, and what none brings any more.

import { isEnding } from "./ending.js";
import { refusalOf } from "./errors.js";

/** @import { Headers } from "./credentials.js" */
/** @import { Ending } from "./ending.js" */
/** @import { RunDocument, RunState } from "./run_state.js" */
/**
 * What a connection requests beside its stream.
 * @typedef {object} Documents
 * @property {(headers: Headers, signal: AbortSignal) => Promise<void>} catchUp takes in all that has
 *   happened so far; throws `Refused`
 * @property {(headers: Headers, signal: AbortSignal, status: Ending | null) => Promise<void>} takeOver
 *   takes in an end that no stream shows; `status` where the stream has said how
 */

// A long history comes in several pages, so that the gateway never holds all of it.
const LOGS = "include_logs=true&limit=500";

/**
 * The answer to a GET, with its tag; null if it is still the one with the tag `known`. Throws `Refused`.
 * @param {{ url: string, fetch: typeof globalThis.fetch, headers: Headers, signal: AbortSignal,
 *   known?: string | null }} request
 */
export async function documentAt({ url, fetch, headers, signal, known = null }) {
  const response = await fetch(url, {
    headers: known === null ? headers : { ...headers, "If-None-Match": known },
    signal,
  });
  if (response.status === 304) return null;
  if (!response.ok) throw await refusalOf(response);
  return { ...(await response.json()), tag: response.headers.get("ETag") };
}

/** @implements {Documents} */
export class RunDocuments {
  #url;
  #fetch;
  #state;
  /** The answer to the last request, and what that asked for.
   * @type {{ tag: string | null, after: string | null }} */
  #last = { tag: null, after: null };

  /** @param {string} url
   * @param {typeof globalThis.fetch} fetch
   * @param {RunState} state */
  constructor(url, fetch, state) {
    this.#url = url;
    this.#fetch = fetch;
    this.#state = state;
  }

  /** A page of the events after `after`.
   * @param {Headers} headers
   * @param {AbortSignal} signal
   * @param {string | null} after
   * @param {string | null} [known]
   * @returns {Promise<RunDocument & { tag: string | null } | null>} */
  #page(headers, signal, after, known) {
    const query = after === null ? LOGS : `${LOGS}&after=${encodeURIComponent(after)}`;
    return documentAt({ url: `${this.#url}?${query}`, fetch: this.#fetch, headers, signal, known });
  }

  /** @type {Documents["catchUp"]} */
  async catchUp(headers, signal) {
    let page;
    do {
      const after = this.#state.lastEventId;
      const known = this.#last.after === after ? this.#last.tag : null;
      page = await this.#page(headers, signal, after, known);
      if (signal.aborted || page === null) break;
      this.#last = { tag: page.tag, after };
      this.#state.addPolled(page);
    } while (page.more);
  }

  /** @type {Documents["takeOver"]} */
  async takeOver(headers, signal, status) {
    let document;
    try {
      document = await this.#whole(headers, signal);
    } catch (error) {
      if (!status || signal.aborted) throw error;
    }
    const own = status && { status };
    this.#state.takeOver(isEnding(document?.status) ? document : { ...document, ...own });
  }

  /** The run with all its events after the last one.
   * @param {Headers} headers
   * @param {AbortSignal} signal
   * @returns {Promise<RunDocument>} */
  async #whole(headers, signal) {
    const events = [];
    /** @type {RunDocument | null} */
    let page = null;
    do {
      const after = page?.last_event_id ?? this.#state.run.last_event_id;
      page = await this.#page(headers, signal, after);
      events.push(...(page?.events ?? []));
    } while (page?.more);
    return { ...page, events };
  }
}
