"use client";
// The React hooks for more than one execution.

import { useMemo } from "react";

import { subscribeToExecutions } from "./executions.js";
import { useShared } from "./shared.js";

export * from "./react.js";
export { subscribeToExecutions };

/** @import { ListSnapshot, SetSnapshot } from "./executions.js" */
/** @import { ListHookOptions, SetHookOptions } from "./react-executions.js" */

/** @type {readonly never[]} */
const NONE = Object.freeze([]);
/** @param {ListSnapshot | SetSnapshot} connecting */
const kind = (connecting) => ({
  connecting: Object.freeze(connecting),
  closed: Object.freeze({ ...connecting, connection: /** @type {const} */ ("closed") }),
  open: subscribeToExecutions,
});
const LIST = kind({ executions: null, connection: "connecting", error: null });
const SET = kind({ executions: NONE, connection: "connecting", error: null });

/**
 * Show the runs of an organization, as a list.
 * @param {ListHookOptions} options
 */
export function useExecutions(options) {
  const enabled = options.organizationId ? options.enabled : false;
  const [snapshot, tryAgain] = useShared(LIST, { ...options, enabled });
  return useMemo(() => ({ ...snapshot, tryAgain }), [snapshot, tryAgain]);
}

/**
 * Follow several executions; no id, or null, follows nothing.
 * @param {readonly string[] | null} executionIds
 * @param {SetHookOptions} options
 */
export function useExecutionSet(executionIds, options) {
  const enabled = executionIds?.length ? options.enabled : false;
  const [snapshot, tryAgain] = useShared(SET, { ...options, executionIds, enabled });
  return useMemo(() => ({ ...snapshot, tryAgain }), [snapshot, tryAgain]);
}
