// One run that a page follows: its events, its document, and its status.

import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { RunDocuments } from "./documents.js";
import { TERMINAL_TYPES } from "./ending.js";
import { Followed, safely } from "./followed.js";
import { RunState } from "./run_state.js";
import { sharing } from "./sharing.js";

/** @import { ConnectionState, Options, Snapshot, Status, Subscription } from "./index.js" */
/** @import { About } from "./followed.js" */

const DOCUMENTED = [
  ...["connected", "heartbeat", "stream:closing", "stream:expiring", "stream:gap", "stream:reset"],
  ...["step:started", "step:completed", "step:failed", "execution:paused"],
];
// Matches any workflow that an execution belongs to.
const ANY_WORKFLOW = "-";

/**
 * @param {string} executionId
 * @param {Options & { baseUrl: string }} options
 * @returns {Subscription}
 */
export function subscriptionTo(executionId, options) {
  const { workflowId = ANY_WORKFLOW } = options;
  const state = new RunState({ ...options, executionId, workflowId });
  /** @type {Followed<Snapshot>} */
  const own = new Followed(about(executionId, options, state));
  const more = { executionId, [Symbol.asyncIterator]: () => iterate(own, state) };
  return own.outside(more, "events", "run", "lastEventId");
}

/** Where the document of a run is.
 * @param {string} executionId
 * @param {{ baseUrl: string, workflowId?: string }} options */
export const runUrl = (executionId, { baseUrl, workflowId = ANY_WORKFLOW }) =>
  `${baseUrl}/api/v1/workflows/${encodeURIComponent(workflowId)}/runs/${encodeURIComponent(executionId)}`;

/** What an EventSource listens to: it delivers no other types.
 * @param {Pick<Options, "terminalTypes" | "types">} options */
export const typesOf = ({ terminalTypes = TERMINAL_TYPES, types = [] }) => {
  const ends = Array.isArray(terminalTypes) ? terminalTypes : Object.keys(terminalTypes);
  return [...new Set([...DOCUMENTED, ...ends, ...types])];
};

/**
 * @param {string} executionId
 * @param {Options & { baseUrl: string }} options
 * @param {RunState} state
 * @returns {About<Snapshot>}
 */
function about(executionId, options, state) {
  // How many events `onEvent` was called for.
  let notified = 0;
  let hasCompleted = false;
  return {
    options,
    state,
    connect: (changed) =>
      new Connection({
        url: `${options.baseUrl}/api/v1/sse/executions/${encodeURIComponent(executionId)}/stream`,
        open: sharing(options),
        documents: (fetch) => new RunDocuments(runUrl(executionId, options), fetch, state),
        credentials: new Credentials(options),
        state,
        types: typesOf(options),
        options,
        changed,
      }),
    notify(own) {
      while (notified < state.events.length && !own.isClosed) {
        const event = state.events[notified++];
        safely(() => options.onEvent?.(event));
      }
    },
    complete(own) {
      if (state.ending === null || hasCompleted || own.isClosed) return;
      hasCompleted = true;
      safely(() => options.onComplete?.(state.run));
    },
    status: (connection) => statusOf(state, connection),
    show: (before) => ({
      // The list grows; who compares needs another one to see that there is more.
      events: state.events.length === before?.events.length ? before.events : [...state.events],
      run: state.run,
      lastEventId: state.lastEventId,
    }),
  };
}

/** @param {RunState} state
 * @param {ConnectionState} connection
 * @returns {Status} */
function statusOf({ ending, run }, connection) {
  if (ending !== null) return ending === "canceled" ? "failed" : ending;
  return connection === "live" && run.status === "paused" ? "paused" : connection;
}

/** @param {Followed<Snapshot>} own
 * @param {RunState} state */
async function* iterate(own, { events }) {
  /** @type {() => Promise<void>} */
  const change = () =>
    new Promise((resolve) => {
      const stop = own.watch(() => {
        stop();
        resolve();
      });
    });
  try {
    for (let next = 0; ;) {
      if (next < events.length) yield events[next++];
      else if (own.connection === "closed") break;
      else await change();
    }
  } finally {
    own.close();
  }
  if (own.givenUp) throw own.error;
}
