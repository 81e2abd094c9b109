// The run as one document, for when no stream can be had: asked for again and again.

import { refusalOf } from "./trouble.js";

// A page: a long history comes in several, of which the gateway never has to hold the whole.
const LOGS = "include_logs=true&limit=500";

/** Polls one run; each poll asks for what follows the last one. */
export class Poll {
  #url;
  #tag = null;
  #after = null;

  constructor(url) {
    this.#url = url;
  }

  /** The document with the events after `after`, whose `more` tells of others; null if nothing has changed. Throws `Refused`. */
  async once({ headers, after, signal }) {
    const known = this.#after === after ? this.#tag : null;
    const query = after === null ? LOGS : `${LOGS}&after=${encodeURIComponent(after)}`;
    const response = await fetch(`${this.#url}?${query}`, {
      headers: known === null ? headers : { ...headers, "If-None-Match": known },
      // The browser's own cache would answer for the gateway.
      cache: "no-store",
      signal,
    });
    if (response.status === 304) return null;
    if (!response.ok) throw await refusalOf(response);
    this.#tag = response.headers.get("ETag");
    this.#after = after;
    return response.json();
  }
}
