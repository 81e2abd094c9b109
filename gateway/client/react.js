"use client";
// The React hook: one stream for all components that follow the same execution.

import { useMemo } from "react";

import { subscribeToExecution } from "./index.js";
import { legacyEvents, legacyState } from "./legacy.js";
import { useShared } from "./shared.js";

// Both functions of the front-end document, from one address.
export { subscribeToExecution };

/** @import { Options, Snapshot } from "./index.js" */
/** @import { StreamOptions } from "./react.js" */

/** @type {Snapshot} */
const CONNECTING = Object.freeze({
  events: Object.freeze([]),
  run: null,
  connection: "connecting",
  status: "connecting",
  error: null,
  lastEventId: null,
});
const KIND = {
  connecting: CONNECTING,
  /** @type {Snapshot} */
  closed: Object.freeze({ ...CONNECTING, connection: "closed", status: "closed" }),
  /** @param {Options & { executionId: string }} options */
  open: ({ executionId, ...options }) => subscribeToExecution(executionId, options),
};

/**
 * Follow an execution from a component; an id of null follows nothing. See react.d.ts for both forms.
 * @param {string | null} executionId
 * @param {[options: StreamOptions]
 *   | [token: string, organizationId: string, options?: StreamOptions]} given
 */
export function useExecutionStream(executionId, ...given) {
  const [first, organizationId, more] = given;
  const isLegacy = given.length > 1 || typeof first === "string";
  const options = isLegacy
    ? { ...more, token: /** @type {string} */ (first), organizationId }
    : { .../** @type {StreamOptions} */ (first) };
  const enabled = executionId ? options.enabled : false;
  const [snapshot, tryAgain] = useShared(KIND, { ...options, executionId, enabled });
  const { events } = snapshot;
  return useMemo(
    () =>
      isLegacy
        ? { events: legacyEvents(events), ...legacyState(snapshot) }
        : { ...snapshot, tryAgain },
    [isLegacy, snapshot, tryAgain],
  );
}
