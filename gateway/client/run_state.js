// What a subscription knows of its execution: each event once, and the run that they make.
//
// Streams and polls both deliver here, and an event that both deliver counts once. No network, no
// clock.

import { RunFold } from "./fold.js";
import { isAtOrAfter, parseId } from "./ids.js";

/** @import { TerminalTypes } from "./ending.js" */
/** @import { EventId } from "./ids.js" */
/** @import { ExecutionEvent, Run, StreamGap, StreamReset } from "./index.js" */
/** The gateway's document of a run, or a page of it. `cursor`: what the id was worth that was asked for;
 * earlier gateways do not say it.
 * @typedef {Partial<Run> & { more?: boolean, reset_reason?: string,
 *   cursor?: "start" | "valid" | "gap" | "reset" }} RunDocument */

export class RunState {
  #executionId;
  #workflowId;
  #fold;
  /** @type {EventId | null} */
  #position = null;
  /** @type {Run | null} */
  #run = null;
  /** There were events that this does not have. */
  #isPart;
  /** A stream or a poll continues after this id; null asks for the whole history.
   * @type {string | null} */
  lastEventId = null;
  /** All events so far, with `stream:gap` and `stream:reset`, in order.
   * @type {ExecutionEvent[]} */
  events = [];

  /** @param {{ executionId: string, workflowId: string, lastEventId?: string | null,
   *   terminalTypes?: readonly string[] | TerminalTypes }} about */
  constructor({ executionId, workflowId, terminalTypes, lastEventId = null }) {
    this.#executionId = executionId;
    this.#workflowId = workflowId;
    this.#fold = new RunFold(terminalTypes);
    this.#setPosition(lastEventId);
    this.#isPart = this.#position !== null;
  }

  /** How the execution has ended; null until it has. */
  get ending() {
    return this.#fold.ending;
  }

  /** The run document after all events so far; the same object until something changes. */
  get run() {
    if (!this.#run) {
      this.#run = this.#fold.document(this.#executionId, this.#workflowId);
      if (this.#isPart && this.#run.status === "pending") {
        Object.assign(this.#run, { status: "unknown", complete: null, events_missing: null });
      }
    }
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
   * Take in what a stream delivers.
   * @param {string} type
   * @param {any} document
   */
  receive(type, document) {
    if (type === "stream:gap") this.gap(document);
    else if (type === "stream:reset") this.reset(document);
    else this.add(document);
  }

  /**
   * Take in one event, unless it was seen before.
   * @param {ExecutionEvent} event
   */
  add(event) {
    const id = idOf(event);
    if (isAtOrAfter(this.#position, parseId(id))) return;
    if (id !== null) this.#setPosition(id);
    this.#fold.add(event);
    this.#append(event);
  }

  /**
   * The history has started again, or no longer has this reader's position: the run starts again too.
   * @param {Omit<StreamReset, "type">} notice
   */
  reset(notice) {
    this.#setPosition(null);
    this.#isPart = true;
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
   * Take in a page of the answer to a poll for what follows `lastEventId`. A stream sends `stream:gap`
   * and `stream:reset`; of a poll, `cursor` says the same.
   * @param {RunDocument} page
   */
  addPolled(page) {
    const { events = [], last_event_id: last, reset_reason: reason = "history_lost" } = page;
    const first = parseId(events.length > 0 ? idOf(events[0]) : null);
    const cursor = page.cursor ?? this.#worthBefore(first);
    if (cursor === "reset") this.reset({ reason });
    if (cursor !== "valid") this.#gapBefore(first ?? following(last));
    for (const event of events) this.add(event);
    if (!page.more) this.#know(page);
  }

  /**
   * Take over the document of a run whose end no stream shows. Its events are part of the run, and are
   * not reported: who asked for those after a later one does not want them.
   * @param {RunDocument} document
   */
  takeOver(document) {
    for (const event of document.events ?? []) this.#fold.add(event);
    this.#know(document);
  }

  /** @param {RunDocument} document */
  #know(document) {
    this.#fold.know(document);
    this.#run = null;
  }

  /** What the position was worth, for a gateway that does not say it.
   * @param {EventId | null} first */
  #worthBefore(first) {
    const position = this.#position;
    if (!position) return "start";
    if (!first || isAtOrAfter({ ...position, seq: position.seq + 1 }, first)) return "valid";
    return first.epoch === position.epoch ? "gap" : "reset";
  }

  /** @param {EventId | null} first */
  #gapBefore(first) {
    if (!first) return;
    const { epoch, seq } = first;
    const seen = this.#position?.epoch === epoch ? this.#position.seq : 0;
    const missed = seq - 1 - seen;
    if (missed > 0) this.gap({ from: `${epoch}-${seen + 1}`, to: `${epoch}-${seq - 1}`, missed });
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

/**
 * The id after this one.
 * @param {unknown} id
 */
function following(id) {
  const known = parseId(id);
  return known && { ...known, seq: known.seq + 1 };
}
