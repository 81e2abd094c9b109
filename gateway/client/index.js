// Follow workflow executions in the browser: every event once, and a status that is true.

import { Subscription } from "./subscription.js";

export { TERMINAL_TYPES } from "./ending.js";
export { fold } from "./fold.js";
export { Refused } from "./http_error.js";

/** @import { GetToken } from "./credentials.js" */
/** @import { Options } from "./index.js" */

// A gateway that serves the module is its base URL; in a bundle it is the page's own origin. There
// `import.meta.url` may be a file's address, or, in a classic script, undefined.
const OWN = import.meta.url ?? "";
const OWN_ORIGIN = /^https?:/.test(OWN) ? new URL(OWN).origin : (globalThis.location?.origin ?? "");

/**
 * Follow an execution; see index.d.ts for the two forms and the options.
 * @param {string} executionId
 * @param {Options | string} options
 * @param {string} [organizationId]
 * @param {Options} [more]
 */
export function subscribeToExecution(executionId, options, organizationId, more) {
  if (typeof executionId !== "string" || executionId === "") {
    throw new TypeError("subscribeToExecution needs the id of an execution.");
  }
  const isLegacy = typeof options === "string";
  const given = isLegacy ? { ...more, organizationId } : { ...options };
  /** @type {GetToken | string | undefined} */
  const getToken = isLegacy ? options : (given.getToken ?? given.token);
  if (!getToken) throw new TypeError("subscribeToExecution needs getToken, or a token.");
  const baseUrl = (given.baseUrl ?? OWN_ORIGIN).replace(/\/+$/, "");
  return new Subscription(executionId, { ...given, baseUrl, getToken });
}
