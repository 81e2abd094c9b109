// Follow more than one execution: the runs of an organization as a list, or several runs on one stream.
//
// A module of its own, so that pages with a single run do not load it; it has all of index.js too.

import { defaultUrl } from "./base_url.js";
import { listOf } from "./list.js";
import { setOf } from "./set.js";

export * from "./index.js";

/** @import { ListOptions, ListSubscription, SetOptions, SetSubscription } from "./executions.js" */

/**
 * Follow several executions, or a list; see executions.d.ts for the two forms and the options.
 * @type {typeof import("./executions.js").subscribeToExecutions}
 */
export const subscribeToExecutions = /** @type {any} */ (subscribe);

/**
 * @param {ListOptions | SetOptions} options
 * @returns {ListSubscription | SetSubscription}
 */
function subscribe(options) {
  const { getToken, token, credentials } = options;
  if (!getToken && !token && !credentials) {
    throw new TypeError("subscribeToExecutions needs getToken, or a token.");
  }
  const baseUrl = (options.baseUrl || defaultUrl()).replace(/\/+$/, "");
  if ("executionIds" in options) {
    if (options.executionIds.length > 0) return setOf({ ...options, baseUrl });
    throw new TypeError("subscribeToExecutions needs the id of an execution.");
  }
  if (options.organizationId) return listOf({ ...options, baseUrl });
  throw new TypeError("subscribeToExecutions needs organizationId, or executionIds.");
}
