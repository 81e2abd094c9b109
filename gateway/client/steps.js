// The steps of a run, folded from its `step:*` events: one entry for each attempt of a step.
//
// Which end belongs to which start, and what counts once, is said in gateway/events/steps.py, which
// folds in the same way.

import { label, milliseconds, number, problem, sinceEpoch, time, timeIn } from "./fields.js";

/** @import { StepLog } from "./index.js" */
/** An attempt, and by what it is found. `hasBegin`: `began` is what the producer said, not the time
 * of the event; `at`: when its event was published.
 * @typedef {{ log: StepLog, node: string | null, began: number | null, position: number | null,
 *   attempt: string | null, hasBegin: boolean, at: string | null }} Attempt */

/** @type {Map<string, "success" | "error">} */
const ENDED = new Map([
  ["step:completed", "success"],
  ["step:failed", "error"],
]);

const STATUSES = [...ENDED.values()];

/** Attempts in the order in which they came, found by any of their marks. */
class Attempts {
  /** @type {Attempt[]} */
  all = [];
  /** @type {Map<string, Attempt[]>} */
  #byMarks = new Map();

  /** @param {Attempt} attempt */
  add(attempt) {
    this.all.push(attempt);
    for (const marks of subsets(attempt)) {
      const found = this.#byMarks.get(marks);
      if (found) found.push(attempt);
      else this.#byMarks.set(marks, [attempt]);
    }
  }

  /**
   * Remove the attempt that `event` belongs to: of each set of marks the latest is asked.
   * @param {Attempt} event
   * @param {(attempt: Attempt, event: Attempt) => boolean} belongs
   */
  take(event, belongs) {
    for (const marks of subsets(event)) {
      const attempt = this.#byMarks.get(marks)?.at(-1);
      if (attempt && !contradicts(attempt, event) && belongs(attempt, event)) {
        this.#remove(attempt);
        return attempt.log;
      }
    }
    return null;
  }

  /** @param {Attempt} attempt */
  #remove(attempt) {
    remove(this.all, attempt);
    for (const marks of subsets(attempt)) {
      const found = this.#byMarks.get(marks) ?? [];
      remove(found, attempt);
      if (found.length === 0) this.#byMarks.delete(marks);
    }
  }
}

export class Steps {
  completed = 0;
  /** @type {StepLog[]} */
  logs = [];
  #open = new Attempts();
  /** Ended, and their start has not come. */
  #withoutStart = new Attempts();
  #ends = new Set();
  /** When the run ended; undefined until it has.
   * @type {string | null | undefined} */
  #runEndedAt;

  /** The node that began last among those that have not ended. */
  get currentNode() {
    return this.#open.all.at(-1)?.node ?? null;
  }

  /**
   * Take in one event, published `at` this time; returns the step that it began or ended. Null for
   * other types, and for an end that was taken in before.
   * @param {string} type
   * @param {Record<string, unknown>} data
   * @param {string | null} at
   */
  add(type, data, at) {
    const ended = ENDED.get(type);
    if (ended) return this.#end(ended, data, at);
    return type === "step:started" ? this.#begin(data, at) : null;
  }

  /**
   * The run has ended `at` this time: what is open is interrupted, also what begins later.
   * @param {string | null} at
   */
  endRun(at) {
    this.#runEndedAt = at;
    for (const { log } of this.#open.all) interrupt(log, at);
  }

  /** @param {Record<string, unknown>} data
   * @param {string | null} at */
  #begin(data, at) {
    const log = newLog(data, timeIn(data, "started_at", at));
    const start = attemptOf(log, data, at);
    const ended = this.#withoutStart.take(start, hasBegunAs);
    if (ended) {
      complete(ended, log);
      ended.duration_ms ??= duration(ended);
      return ended;
    }
    this.#open.add(start);
    if (this.#runEndedAt !== undefined) interrupt(log, this.#runEndedAt);
    this.logs.push(log);
    return log;
  }

  /** @param {"success" | "error"} status
   * @param {Record<string, unknown>} data
   * @param {string | null} at */
  #end(status, data, at) {
    const log = newLog(data, time(data.started_at));
    log.status = STATUSES.find((one) => one === data.status) ?? status;
    log.completed_at = timeIn(data, "completed_at", at);
    const end = attemptOf(log, data, at);
    const identity = JSON.stringify([log.started_at, log.completed_at, log.status, marksOf(end)]);
    const isKnown = this.#ends.has(identity);
    if (isKnown && log.completed_at !== null) return null;
    const step = this.#open.take(end, () => true);
    // Without a time it is a further end only where something was open.
    if (isKnown && !step) return null;
    if (step) complete(log, step);
    log.duration_ms = number(data.duration_ms) ?? duration(log);
    log.error = problem(data, "error", "error_message");
    log.output = data.output ?? null;
    this.#ends.add(identity);
    if (log.status === "success") this.completed += 1;
    if (step) return Object.assign(step, log);
    this.#withoutStart.add(end);
    this.logs.push(log);
    return log;
  }
}

/**
 * @param {Record<string, unknown>} data
 * @param {string | null} startedAt
 * @returns {StepLog}
 */
const newLog = (data, startedAt) => ({
  node_id: label(data.node_id),
  node_type: label(data.node_type),
  position: number(data.position),
  status: "running",
  started_at: startedAt,
  completed_at: null,
  duration_ms: null,
  output: null,
  error: null,
});

/** What `log` does not say and `other` does.
 * @param {StepLog} log
 * @param {StepLog} other */
function complete(log, other) {
  log.node_type ||= other.node_type;
  log.position ??= other.position;
  log.started_at ??= other.started_at;
}

/** @param {StepLog} log
 * @param {string | null} at */
function interrupt(log, at) {
  log.status = "interrupted";
  log.completed_at = at;
  // Not 0 ms for a step that began after the end.
  log.duration_ms = duration(log) || null;
}

const duration = (/** @type {StepLog} */ log) => milliseconds(log.started_at, log.completed_at);

/** @param {StepLog} log
 * @param {Record<string, unknown>} data
 * @param {string | null} at
 * @returns {Attempt} */
function attemptOf(log, data, at) {
  const { node_id: node, position } = log;
  const began = log.started_at === null ? null : sinceEpoch(log.started_at);
  const hasBegin = began !== null && (data.started_at ?? null) !== null;
  return { log, node, began, position, attempt: label(data.attempt), hasBegin, at };
}

/** @param {Attempt} attempt */
const marksOf = ({ node, began, position, attempt }) => [node, began, position, attempt];

/** The marks, and fewer and fewer of them, the weightiest last.
 * @param {Attempt} attempt */
function* subsets(attempt) {
  const [node, ...marks] = marksOf(attempt);
  const [begins, positions, attempts] = marks.map((mark) => new Set([mark, null]));
  for (const began of begins) {
    for (const position of positions) {
      for (const number of attempts) yield JSON.stringify([node, began, position, number]);
    }
  }
}

/** @param {Attempt} one
 * @param {Attempt} other */
const contradicts = (one, other) =>
  (one.hasBegin && other.hasBegin && one.began !== other.began) ||
  differ(one.position, other.position) ||
  differ(one.attempt, other.attempt);

/** @param {unknown} one
 * @param {unknown} other */
const differ = (one, other) => one !== null && other !== null && one !== other;

/** Whether `start`, which came after `end` and does not contradict it, is its start.
 * @param {Attempt} end
 * @param {Attempt} start */
function hasBegunAs(end, start) {
  if (end.hasBegin && start.hasBegin) return true;
  if (end.attempt !== null && start.attempt !== null) return true;
  return end.at !== null && start.at !== null && sinceEpoch(start.at) <= sinceEpoch(end.at);
}

/** @param {Attempt[]} attempts
 * @param {Attempt} attempt */
const remove = (attempts, attempt) => attempts.splice(attempts.lastIndexOf(attempt), 1);
