// The two ways to read an event stream: streaming fetch, with the token in a header; and, where that
// is missing, EventSource with a ticket, so that no token stands in a URL.
//
// Both are async generators of lists of messages, one list for all that arrived at once, also an
// empty one: something was heard. They end when the stream ends, throw `Refused`, or whatever the
// network throws. Trying again is the matter of subscription.js.

import { SseParser } from "./sse.js";
import { Refused, refusalOf } from "./trouble.js";

/** Whether this browser can read a response while it arrives. */
export const canStream = () =>
  typeof ReadableStream === "function" &&
  typeof TextDecoderStream === "function" &&
  typeof Response === "function" &&
  "body" in Response.prototype;

/** Reads the stream at `url`; `null` is yielded for one that says that the end was seen (204). */
export async function* byFetch(url, { headers, lastEventId, signal }) {
  const all = { ...headers, Accept: "text/event-stream" };
  if (lastEventId !== null) all["Last-Event-ID"] = lastEventId;
  const response = await fetch(url, { headers: all, signal, cache: "no-store" });
  if (response.status === 204) {
    yield null;
    return;
  }
  if (!response.ok) throw await refusalOf(response);
  if (!(response.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
    throw new Refused(
      response.status,
      "no_stream",
      "The answer is no event stream: a proxy's page?",
    );
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new SseParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield parser.push(value);
  }
}

/** The same over EventSource, which knows only the `types` that it is told, and no status. */
export async function* byEventSource(url, { headers, lastEventId, signal, types }) {
  const asked = await fetch(url.replace(/stream$/, "ticket"), { method: "POST", headers, signal });
  if (!asked.ok) throw await refusalOf(asked);
  const query = new URLSearchParams({ ticket: (await asked.json()).ticket });
  if (lastEventId !== null) query.set("last_event_id", lastEventId);
  const source = new EventSource(`${url}?${query}`);
  const heard = [];
  let wake = () => {};
  let lost = false;
  const hear = (message) => {
    heard.push(message);
    wake();
  };
  // What EventSource itself has to say, a lost connection, has no data.
  for (const type of types) {
    source.addEventListener(type, ({ data, lastEventId: id }) => {
      if (data !== undefined) hear({ event: type, data, id });
    });
  }
  const lose = () => {
    lost = true;
    wake();
  };
  // A producer may call an event "error" too.
  source.addEventListener("error", ({ data }) => data === undefined && lose());
  signal.addEventListener("abort", lose);
  try {
    for (;;) {
      if (heard.length) yield heard.splice(0);
      else if (lost) return;
      else await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    // It would try again with the ticket that is used up.
    source.close();
  }
}
