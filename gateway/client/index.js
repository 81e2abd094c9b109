// Follow workflow executions in the browser: every event once, and a status that is true.

import { defaultUrl } from "./base_url.js";
import { legacySource } from "./legacy.js";
import { subscriptionTo } from "./subscription.js";

export { TERMINAL_TYPES } from "./ending.js";
export { Refused, StreamError, Unauthorized } from "./errors.js";
export { fold } from "./fold.js";

/** @import { LegacySubscription, Options } from "./index.js" */

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
  /** @type {Options} */
  const given = isLegacy
    ? { ...more, getToken: undefined, token: options, organizationId }
    : { ...options };
  if (!given.getToken && !given.token && (isLegacy || !given.credentials)) {
    throw new TypeError("subscribeToExecution needs getToken, or a token.");
  }
  const baseUrl = (given.baseUrl || defaultUrl()).replace(/\/+$/, "");
  /** @type {(more?: Options) => LegacySubscription} */
  const open = (more) =>
    /** @type {LegacySubscription} */ (subscriptionTo(executionId, { ...given, baseUrl, ...more }));
  return isLegacy ? legacySource(open, given) : open();
}
