// The steps of a run, folded from its `step:*` events: one entry for each step and attempt.
//
// It says what the events say and nothing more: a first attempt that never ended stays `running` when
// the next one starts. The gateway folds in the same way (gateway/events/steps.py).

import { label, milliseconds, number, problem, time } from "./fields.js";

/** @import { StepLog } from "./index.js" */

export const STEP_STARTED = "step:started";

/** @type {Map<string, "success" | "error">} */
const ENDED = new Map([
  ["step:completed", "success"],
  ["step:failed", "error"],
]);

export class Steps {
  completed = 0;
  /** @type {StepLog[]} */
  logs = [];
  /** By node, the latest attempt. A Map keeps the order in which the steps began.
   * @type {Map<string | null, StepLog>} */
  #open = new Map();

  /** The node that began last among those that have not ended. */
  get currentNode() {
    return [...this.#open.keys()].at(-1) ?? null;
  }

  /**
   * Take in one event, published `at` this time. Only the types of a step change anything.
   * @param {string} type
   * @param {Record<string, unknown>} data
   * @param {string | null} at
   */
  add(type, data, at) {
    const ended = ENDED.get(type);
    if (type === STEP_STARTED) this.#begin(data, at);
    else if (ended) this.#end(ended, data, at);
  }

  /** @param {Record<string, unknown>} data
   * @param {string | null} at */
  #begin(data, at) {
    const step = this.#new(data);
    step.started_at ??= at;
    // Removed first, so that the new attempt is the last in the order.
    this.#open.delete(step.node_id);
    this.#open.set(step.node_id, step);
  }

  /** @param {"success" | "error"} status
   * @param {Record<string, unknown>} data
   * @param {string | null} at */
  #end(status, data, at) {
    const node = label(data.node_id);
    let step = this.#open.get(node);
    this.#open.delete(node);
    if (step) {
      step.node_type = label(data.node_type) || step.node_type;
      step.position = number(data.position) ?? step.position;
      step.started_at = time(data.started_at) ?? step.started_at;
    } else {
      // Its start was never published, or is no longer kept.
      step = this.#new(data);
    }
    step.status = data.status === "success" || data.status === "error" ? data.status : status;
    step.completed_at = time(data.completed_at) ?? at;
    step.duration_ms = number(data.duration_ms) ?? milliseconds(step.started_at, step.completed_at);
    step.error = problem(data, "error", "error_message");
    step.output = data.output ?? null;
    if (step.status === "success") this.completed += 1;
  }

  /** @param {Record<string, unknown>} data */
  #new(data) {
    /** @type {StepLog} */
    const step = {
      node_id: label(data.node_id),
      node_type: label(data.node_type),
      position: number(data.position),
      status: "running",
      started_at: time(data.started_at),
      completed_at: null,
      duration_ms: null,
      output: null,
      error: null,
    };
    this.logs.push(step);
    return step;
  }
}
