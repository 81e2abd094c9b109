// The two ways to read an event stream: streaming fetch, with the token in a header; and, where the
// browser lacks that, EventSource with a ticket, so that no token is in a URL.
//
// Both are async generators of lists of messages: one list for all messages that arrived together,
// empty if only a part of one did. They end when the stream ends, and throw `Refused` or the
// network's error. When to try again is decided in connection.js.

import { Refused, refusalOf } from "./errors.js";
import { SseParser } from "./sse.js";

/** @import { Message } from "./sse.js" */
/** @typedef {{ headers: Record<string, string>, lastEventId: string | null, signal: AbortSignal,
 *   types: readonly string[], fetch: typeof fetch, withCredentials: boolean,
 *   catchUp: () => Promise<void>, alone?: string, timing: { heartbeatMs: number }, query?: string,
 *   ticket?: RequestInit }} StreamRequest
 *   `lastEventId` is of the moment. `catchUp` polls for what follows it. `alone`: why it is not shared.
 *   `query` and `ticket`: more for the address of an EventSource, and for the request of its ticket */
/** @typedef {(url: string, request: StreamRequest) => AsyncGenerator<Message[] | null>} OpenStream */

/** Whether this browser can read a response while it arrives. */
export const canStream = () =>
  typeof ReadableStream === "function" &&
  typeof TextDecoderStream === "function" &&
  typeof Response === "function" &&
  "body" in Response.prototype;

/**
 * Reads the stream at `url`. Yields `null` if the answer is 204: this reader has already seen the end.
 * @type {OpenStream}
 */
export async function* byFetch(url, { headers, lastEventId, signal, fetch }) {
  /** @type {Record<string, string>} */
  const all = { ...headers, Accept: "text/event-stream" };
  if (lastEventId !== null) all["Last-Event-ID"] = lastEventId;
  const response = await fetch(url, { headers: all, signal });
  if (response.status === 204) {
    yield null;
    return;
  }
  if (!response.ok) throw await refusalOf(response);
  const type = response.headers.get("Content-Type") ?? "";
  if (!type.startsWith("text/event-stream") || response.body === null) {
    const message = "The answer is not an event stream. Does a proxy answer with its own page?";
    throw new Refused(response.status, "no_stream", message);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new SseParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield parser.push(value);
  }
}

/** What says in an address who asks, and from where on.
 * @param {string} url
 * @param {Parameters<OpenStream>[1]} request */
async function queryOf(url, { headers, lastEventId, signal, fetch, query: more, ticket }) {
  const { Authorization: token, "X-Organization-ID": organization } = headers;
  const query = new URLSearchParams(more);
  if (token) {
    const ticketUrl = url.replace(/stream$/, "ticket");
    const answer = await fetch(ticketUrl, { method: "POST", headers, signal, ...ticket });
    if (!answer.ok) throw await refusalOf(answer);
    query.set("ticket", (await answer.json()).ticket);
  } else if (organization) {
    // A cookie comes by itself, and gets no ticket.
    query.set("organization_id", organization);
  }
  if (lastEventId !== null) query.set("last_event_id", lastEventId);
  return query;
}

/**
 * The same over EventSource, which delivers only the listed `types`, and shows no HTTP status.
 * @type {OpenStream}
 */
export async function* byEventSource(url, request) {
  const { signal, types, withCredentials } = request;
  const query = await queryOf(url, request);
  const source = new EventSource(`${url}?${query}`, { withCredentials });
  /** @type {Message[]} */
  const arrived = [];
  let wake = () => {};
  let isLost = false;
  /** @type {() => Promise<void>} */
  const arrival = () => new Promise((resolve) => (wake = resolve));
  for (const type of types) {
    source.addEventListener(type, ({ data, lastEventId: id }) => {
      // EventSource's own event for a lost connection has no data.
      if (data === undefined) return;
      arrived.push({ event: type, data, id });
      wake();
    });
  }
  const lose = () => {
    isLost = true;
    wake();
  };
  // A producer may name an event "error" too.
  source.addEventListener("error", (event) => "data" in event || lose());
  signal.addEventListener("abort", lose);
  try {
    for (;;) {
      if (arrived.length) yield arrived.splice(0);
      else if (isLost) return;
      else await arrival();
    }
  } finally {
    // It would try again with the ticket, which works only once.
    source.close();
  }
}
