// The run document: what a run looks like now, folded from its events, so that a page renders state
// and not a log.
//
// It is the document that the polling endpoint returns with `include_logs=true`, by the same rules
// (gateway/events/run.py); both are tested with the same vectors.

import { endingStatus, isEnding, TERMINAL_TYPES } from "./ending.js";
import { label, milliseconds, number, object, problem, time, timeIn } from "./fields.js";
import { parseId } from "./ids.js";
import { Steps } from "./steps.js";

/** @import { Ending, TerminalTypes } from "./ending.js" */
/** @import { EventId } from "./ids.js" */
/** @import { ExecutionEvent, Run } from "./index.js" */
/** @import { RunDocument } from "./run_state.js" */

const KNOWN = /** @type {const} */ ([
  "started_at",
  "completed_at",
  "duration_ms",
  "error_message",
  "generated_document_id",
  "last_event_id",
]);

/** Folds events one after the other, in their order. */
export class RunFold {
  /** @type {TerminalTypes} */
  terminalTypes;
  #steps = new Steps();
  /** @type {ExecutionEvent[]} */
  #events = [];
  #hasEnded = false;
  /** @type {EventId | null} */
  #position = null;
  // In the order of the document.
  #run = {
    status: /** @type {Run["status"]} */ ("pending"),
    started_at: /** @type {string | null} */ (null),
    completed_at: /** @type {string | null} */ (null),
    duration_ms: /** @type {number | null} */ (null),
    current_node: /** @type {string | null} */ (null),
    steps_completed: 0,
    error_message: /** @type {string | null} */ (null),
    generated_document_id: /** @type {string | null} */ (null),
    last_event_id: /** @type {string | null} */ (null),
    complete: /** @type {boolean | null} */ (true),
    events_missing: /** @type {number | null} */ (0),
    execution_logs_from: /** @type {string | null} */ (null),
  };

  /** @param {readonly string[] | TerminalTypes} terminalTypes */
  constructor(terminalTypes = TERMINAL_TYPES) {
    this.terminalTypes = Array.isArray(terminalTypes)
      ? Object.fromEntries(terminalTypes.map((type) => [type, null]))
      : /** @type {TerminalTypes} */ (terminalTypes);
  }

  /** How the run has ended; null until it has. */
  get ending() {
    return this.#hasEnded ? /** @type {Ending} */ (this.#run.status) : null;
  }

  /**
   * Take in one event, which may be any JSON value.
   * @param {unknown} event
   */
  add(event) {
    this.#events.push(/** @type {ExecutionEvent} */ (event));
    const envelope = object(event);
    const type = label(envelope.type) ?? "";
    const data = object(envelope.data);
    const at = time(envelope.timestamp);
    const run = this.#run;
    run.last_event_id = label(envelope.id) || run.last_event_id;
    if (envelope !== event) return;
    this.#count(envelope.id);
    const step = this.#steps.add(type, data, at);
    if (this.#hasEnded) return;
    // Else it began before what is kept, and nobody knows when.
    if (!run.events_missing) run.started_at ??= time(data.started_at) ?? at;
    if (Object.hasOwn(this.terminalTypes, type)) this.#end(type, data, at, envelope.trimmed);
    else this.#continue(type, step !== null);
  }

  /** @param {string} type
   * @param {boolean} isStep */
  #continue(type, isStep) {
    const isResumed = isStep || type === "execution:resumed" || this.#run.status === "pending";
    if (type === "execution:paused") this.#run.status = "paused";
    else if (isResumed) this.#run.status = "running";
  }

  /**
   * Count what is missing before the event with this id: ids count up by one.
   * @param {unknown} id
   */
  #count(id) {
    const run = this.#run;
    const known = this.#position;
    const position = parseId(id);
    if (!position) {
      run.events_missing = null;
      return;
    }
    const missing = position.seq - 1 - (known?.epoch === position.epoch ? known.seq : 0);
    // Else it came again, or late.
    if (missing >= 0) this.#position = position;
    if (missing > 0 && run.events_missing !== null) run.events_missing += missing;
    if (missing > 0 || run.execution_logs_from === null) {
      run.execution_logs_from = `${position.epoch}-${position.seq}`;
    }
  }

  /** @param {string} type
   * @param {Record<string, unknown>} data
   * @param {string | null} at
   * @param {unknown} trimmed */
  #end(type, data, at, trimmed) {
    const run = this.#run;
    this.#hasEnded = true;
    run.status = endingStatus(type, data, this.terminalTypes, trimmed);
    run.completed_at = timeIn(data, "completed_at", at);
    this.#steps.endRun(run.completed_at);
    run.duration_ms =
      number(data.execution_time_ms) ?? milliseconds(run.started_at, run.completed_at);
    run.error_message = problem(data, "error_message", "error");
    run.generated_document_id = label(data.generated_document_id);
  }

  /**
   * Take over what the gateway's document of the run says, and the events so far do not: it knows
   * about events that are no longer kept.
   * @param {RunDocument} document
   */
  know(document) {
    const run = this.#run;
    if (!this.#hasEnded && isEnding(document.status)) {
      this.#hasEnded = true;
      run.status = document.status;
      this.#steps.endRun(document.completed_at ?? null);
      this.#countTo(document);
    }
    for (const name of KNOWN) run[name] ??= /** @type {never} */ (document[name] ?? null);
  }

  /** Count what is missing up to the end.
   * @param {RunDocument} document */
  #countTo({ last_event_id: last, events_missing: missing = null, cursor }) {
    const known = this.#position;
    const end = parseId(last);
    if (end) this.#count(`${end.epoch}-${end.seq + 1}`);
    // It is about all events: not if only those after a cursor were asked for.
    if (!known && cursor === undefined) this.#run.events_missing = missing;
  }

  /**
   * The run after the events so far: a new object each time, whose parts may be shared.
   * @param {string} executionId
   * @param {string} workflowId
   * @returns {Run}
   */
  document(executionId, workflowId) {
    const run = this.#run;
    const missing = run.events_missing;
    return {
      id: executionId,
      workflow_id: workflowId,
      ...run,
      current_node: this.#hasEnded ? null : this.#steps.currentNode,
      steps_completed: this.#steps.completed,
      complete: missing === null ? null : missing === 0,
      execution_logs: [...this.#steps.logs],
      events: [...this.#events],
    };
  }
}

/**
 * The run document of all `events` of one execution, in their order.
 * @param {Iterable<unknown>} events
 * @param {{ executionId?: string, workflowId?: string,
 *   terminalTypes?: readonly string[] | TerminalTypes }} about
 */
export function fold(events, { executionId = "", workflowId = "", terminalTypes } = {}) {
  const run = new RunFold(terminalTypes);
  for (const event of events) run.add(event);
  return run.document(executionId, workflowId);
}
