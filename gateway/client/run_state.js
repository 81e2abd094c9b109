// What a subscription knows of its execution: each event once, and the run that they make.
//
// Streams and polls both deliver here, and an event that both deliver counts once. No network, no
// clock.

import { RunFold } from "./fold.js";
import { isAtOrAfter, parseId } from "./ids.js";

/** @import { Ending, TerminalTypes } from "./ending.js" */
/** @import { EventId } from "./ids.js" */
/** @import { ExecutionEvent, Run, StreamGap, StreamReset } from "./index.js" */

export class RunState {
  #executionId;
  #workflowId;
  #fold;
  /** @type {EventId | null} */
  #position = null;
  /** @type {Run | null} */
  #run = null;
  /** A stream or a poll continues after this id; null asks for the whole history.
   * @type {string | null} */
  lastEventId = null;
  /** All events so far, with `stream:gap` and `stream:reset`, in order.
   * @type {ExecutionEvent[]} */
  events = [];
  /** How the execution has ended; null until it has.
   * @type {Ending | null} */
  ending = null;

  /** @param {{ executionId: string, workflowId: string, lastEventId?: string | null,
   *   terminalTypes?: readonly string[] | TerminalTypes }} about */
  constructor({ executionId, workflowId, terminalTypes, lastEventId = null }) {
    this.#executionId = executionId;
    this.#workflowId = workflowId;
    this.#fold = new RunFold(terminalTypes);
    this.#setPosition(lastEventId);
  }

  /** The run document after all events so far; the same object until something changes. */
  get run() {
    this.#run ??= this.#fold.document(this.#executionId, this.#workflowId);
    return this.#run;
  }

  /**
   * The types that end this run, as its gateway names them.
   * @param {TerminalTypes} types
   */
  endsWith(types) {
    this.#fold.terminalTypes = types;
  }

  /**
   * Take in one event; false if it was seen before.
   * @param {ExecutionEvent} event
   */
  add(event) {
    const id = idOf(event);
    if (isAtOrAfter(this.#position, parseId(id))) return false;
    if (id !== null) this.#setPosition(id);
    this.#fold.add(event);
    this.#append(event);
    this.ending ??= this.#fold.ending;
    return true;
  }

  /**
   * The history has started again, or no longer has this reader's position: the run starts again too.
   * @param {Omit<StreamReset, "type">} notice
   */
  reset(notice) {
    this.#setPosition(null);
    this.ending = null;
    this.#fold = new RunFold(this.#fold.terminalTypes);
    this.#append({ type: "stream:reset", ...notice });
  }

  /**
   * Some of the requested events are no longer kept.
   * @param {Omit<StreamGap, "type">} notice
   */
  gap(notice) {
    this.#append({ type: "stream:gap", ...notice });
  }

  /**
   * The execution has ended in this way, and its events are no longer kept.
   * @param {Ending} status
   */
  endedAs(status) {
    this.ending ??= status;
  }

  /**
   * Whether all events up to the one with this id were seen.
   * @param {string} id
   */
  hasSeen(id) {
    return isAtOrAfter(this.#position, parseId(id));
  }

  /**
   * Take in the events of a poll that asked for those after `lastEventId`; returns the new ones. A
   * stream sends `stream:gap` and `stream:reset`; of a poll, the first event's id says the same.
   * @param {ExecutionEvent[]} events
   */
  addPolled(events) {
    const first = parseId(events.length > 0 ? idOf(events[0]) : null);
    const position = this.#position;
    const before = this.events.length;
    if (position && first && first.epoch !== position.epoch) {
      this.reset({ reason: "history_lost" });
    } else if (position && first && first.seq > position.seq + 1) {
      const [from, to] = [position.seq + 1, first.seq - 1];
      const id = (/** @type {number} */ seq) => `${first.epoch}-${seq}`;
      this.gap({ from: id(from), to: id(to), missed: to - from + 1 });
    }
    for (const event of events) this.add(event);
    return this.events.slice(before);
  }

  /** @param {string | null} id */
  #setPosition(id) {
    this.lastEventId = id;
    this.#position = parseId(id);
  }

  /** @param {ExecutionEvent} event */
  #append(event) {
    this.#run = null;
    this.events.push(event);
  }
}

/**
 * The id of an event; null if it has none, or one of another form.
 * @param {ExecutionEvent} event
 */
function idOf(event) {
  const { id } = /** @type {{ id?: string, type: string }} */ (event);
  return id !== undefined && parseId(id) ? id : null;
}
