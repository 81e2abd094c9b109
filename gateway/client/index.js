// Follow workflow executions in the browser: every event once, and an honest word for the state.

import { Subscription } from "./subscription.js";

export { TERMINAL_TYPES, fold } from "./fold.js";
export { Refused } from "./trouble.js";

// Served by a gateway, the module knows where that is; bundled, it is the page's own origin. What a
// bundler makes of it may be a file's address, or, in a classic script, nothing.
const OWN = import.meta.url ?? "";
const OWN_ORIGIN = /^https?:/.test(OWN) ? new URL(OWN).origin : (globalThis.location?.origin ?? "");

/** Follow an execution; see index.d.ts for the options. */
export function subscribeToExecution(executionId, options, organizationId, more) {
  const given =
    typeof options === "string" ? { ...more, getToken: options, organizationId } : { ...options };
  if (typeof executionId !== "string" || executionId === "") {
    throw new TypeError("subscribeToExecution needs the id of an execution.");
  }
  given.getToken ??= given.token;
  if (!given.getToken) throw new TypeError("subscribeToExecution needs getToken, or a token.");
  given.baseUrl = (given.baseUrl ?? OWN_ORIGIN).replace(/\/+$/, "");
  return new Subscription(executionId, given);
}
