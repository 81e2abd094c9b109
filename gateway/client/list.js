// The runs of an organization, newest activity first, as they are now.
//
// A list is state and not history: each stream begins with all of it, so nothing has to be caught up with.

import { apart } from "./apart.js";
import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { documentAt } from "./documents.js";
import { Followed } from "./followed.js";

/** @import { Documents } from "./documents.js" */
/** @import { ExecutionSummary, ListOptions, ListSnapshot, ListSubscription } from "./executions.js" */

const TYPES = [
  ...["connected", "heartbeat", "stream:closing", "stream:expiring"],
  ...["executions:snapshot", "execution:added", "execution:updated", "execution:removed"],
];
const ALONE = "tabs share no streams of lists";
// What the gateway shows by default too.
const LIMIT = 100;

/**
 * @param {ListOptions & { baseUrl: string }} options
 * @returns {ListSubscription}
 */
export function listOf(options) {
  const state = new ListState(options.limit);
  const { baseUrl, organizationId } = options;
  const path = `/organizations/${encodeURIComponent(organizationId)}/executions`;
  const query = queryOf(options);
  /** @type {Followed<ListSnapshot>} */
  const own = new Followed({
    options,
    state,
    connect: (changed) =>
      new Connection({
        url: `${baseUrl}/api/v1/sse${path}/stream${query}`,
        open: apart(options, ALONE),
        documents: (fetch) => documents(`${baseUrl}/api/v1${path}${query}`, fetch, state),
        credentials: new Credentials(options),
        state,
        types: TYPES,
        options,
        changed,
      }),
    show: () => ({ executions: state.executions }),
  });
  return own.outside({}, "executions");
}

/** @param {ListOptions} options */
function queryOf({ status = [], workflowId, limit }) {
  const query = new URLSearchParams();
  const statuses = [status].flat().join(",");
  if (statuses) query.set("status", statuses);
  if (workflowId) query.set("workflow_id", workflowId);
  if (limit) query.set("limit", String(limit));
  return query.size ? `?${query}` : "";
}

/**
 * @param {string} url
 * @param {typeof globalThis.fetch} fetch
 * @param {ListState} state
 * @returns {Documents}
 */
function documents(url, fetch, state) {
  /** @type {{ tag: string | null, shown: unknown }} */
  let last = { tag: null, shown: null };
  return {
    async catchUp(headers, signal) {
      // A stream may have changed the list since: then "as before" says nothing.
      const known = last.shown === state.executions ? last.tag : null;
      const answer = await documentAt({ url, fetch, headers, signal, known });
      if (answer === null || signal.aborted) return;
      state.replace(answer.executions);
      last = { tag: answer.tag, shown: state.executions };
    },
    // A list has no end.
    takeOver: async () => {},
  };
}

export class ListState {
  ending = null;
  lastEventId = null;
  #limit;
  /** By id; null until something is known.
   * @type {Map<string, ExecutionSummary> | null} */
  #known = null;
  /** @type {readonly ExecutionSummary[] | null} */
  #sorted = null;

  /** @param {number} [limit] */
  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  /** Newest activity first, at most as many as the limit; null until something is known. The same
   * object until something changes. */
  get executions() {
    if (this.#known && !this.#sorted) {
      const sorted = [...this.#known.values()].sort(byActivity).slice(0, this.#limit);
      this.#known = new Map(sorted.map((one) => [one.execution_id, one]));
      this.#sorted = Object.freeze(sorted);
    }
    return this.#sorted;
  }

  endsWith() {}

  /**
   * @param {string} type
   * @param {any} document
   */
  receive(type, document) {
    if (type === "executions:snapshot") this.replace(document.executions);
    else if (type === "execution:removed") {
      if (this.#known?.delete(document.execution_id)) this.#sorted = null;
    } else if (type === "execution:added" || type === "execution:updated") this.#put(document);
  }

  /** This is all that there is.
   * @param {readonly ExecutionSummary[]} executions */
  replace(executions) {
    this.#known = new Map(executions.map((one) => [one.execution_id, one]));
    this.#sorted = null;
  }

  /** @param {ExecutionSummary} execution */
  #put(execution) {
    const known = this.#known?.get(execution.execution_id);
    // Never an older one than what is shown.
    if (!this.#known || (known && known.updated_at > execution.updated_at)) return;
    this.#known.set(execution.execution_id, execution);
    this.#sorted = null;
  }
}

/**
 * @param {ExecutionSummary} one
 * @param {ExecutionSummary} other
 */
function byActivity(one, other) {
  if (one.updated_at !== other.updated_at) return one.updated_at < other.updated_at ? 1 : -1;
  return one.execution_id < other.execution_id ? -1 : 1;
}
