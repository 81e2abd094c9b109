// The steps of a run, folded from its `step:*` events: one entry a step and attempt.
//
// It says what the events say and nothing more: an attempt that was begun anew without having ended
// stays `running`. The gateway folds in the same way (gateway/events/steps.py).

import { label, milliseconds, number, time, trouble } from "./fields.js";

export const STEP_STARTED = "step:started";
const ENDED = { "step:completed": "success", "step:failed": "error" };

export class Steps {
  completed = 0;
  logs = [];
  // By node, the latest attempt: a Map keeps the order in which the steps began.
  #open = new Map();

  /** The node that began last among those that have not ended. */
  get currentNode() {
    return [...this.#open.keys()].at(-1) ?? null;
  }

  /** Take in one event, published `at` this time; other types than a step's do nothing. */
  add(type, data, at) {
    if (type === STEP_STARTED) this.#begin(data, at);
    else if (Object.hasOwn(ENDED, type)) this.#end(ENDED[type], data, at);
  }

  #begin(data, at) {
    const step = this.#new(data);
    step.started_at ??= at;
    // Taken out first, so that a new attempt stands last.
    this.#open.delete(step.node_id);
    this.#open.set(step.node_id, step);
  }

  #end(status, data, at) {
    const node = label(data.node_id);
    let step = this.#open.get(node);
    this.#open.delete(node);
    if (step) {
      step.node_type = label(data.node_type) || step.node_type;
      step.position = number(data.position) ?? step.position;
      step.started_at = time(data.started_at) ?? step.started_at;
    } else {
      // Its beginning was never published, or is no longer kept.
      step = this.#new(data);
    }
    step.status = ["success", "error"].includes(data.status) ? data.status : status;
    step.completed_at = time(data.completed_at) ?? at;
    step.duration_ms = number(data.duration_ms) ?? milliseconds(step.started_at, step.completed_at);
    step.error = trouble(data, "error", "error_message");
    step.output = data.output ?? null;
    if (step.status === "success") this.completed += 1;
  }

  #new(data) {
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
