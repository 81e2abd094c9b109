// The way to read a stream that tabs do not share: of a list, and of several executions.

import { canBroadcast } from "./sharing.js";
import { limited } from "./slots.js";
import { byEventSource, byFetch, canStream } from "./streams.js";

/** @import { Page } from "./election.js" */
/** @import { ConnectionOptions } from "./index.js" */
/** @import { OpenStream } from "./streams.js" */

/**
 * @param {ConnectionOptions & { page?: Page }} options `page`: for tests
 * @param {string} why it is not shared
 * @param {object} [ticketFor] what a ticket holds, where the address says it without one
 * @returns {OpenStream}
 */
export function apart({ transport, page = globalThis }, why, ticketFor) {
  const isFetch = transport ? transport === "fetch" : canStream();
  const open = isFetch ? byFetch : withTicketFor(ticketFor);
  return (url, request) => {
    request.alone = why;
    // Outside a page, as in Node, nobody is short of connections.
    const isLimited = page.document && canBroadcast(page);
    return (isLimited ? limited(open, page, String(Math.random())) : open)(url, request);
  };
}

/**
 * @param {object} [ticketFor]
 * @returns {OpenStream}
 */
const withTicketFor = (ticketFor) => (url, request) => {
  const [path, query] = url.split("?");
  const { headers } = request;
  // A cookie comes by itself, and gets no ticket.
  if (!ticketFor || !headers.Authorization) return byEventSource(path, { ...request, query });
  return byEventSource(path, {
    ...request,
    ticket: {
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify(ticketFor),
    },
  });
};
