// What a subscription has seen of its execution: each event once, and the run that they make.
//
// Streams and polls both end here, and whatever one of them has brought the other cannot bring
// again. It knows no network and no clock.

import { hasSeen, parseId } from "./cursor.js";
import { RunFold, TERMINAL_TYPES } from "./fold.js";

const RESET = "stream:reset";

export class Record {
  #executionId;
  #workflowId;
  #terminalTypes;
  #fold;
  #position = null;
  #run = null;
  /** The id after which a stream or a poll goes on; null for the whole history. */
  lastEventId = null;
  /** All that was seen, `stream:gap` and `stream:reset` among it, in order. */
  seen = [];
  /** How the execution has ended: `completed`, `failed` or `canceled`; null until it has. */
  ending = null;

  constructor({ executionId, workflowId, terminalTypes = TERMINAL_TYPES, lastEventId = null }) {
    this.#executionId = executionId;
    this.#workflowId = workflowId;
    this.#terminalTypes = terminalTypes;
    this.#fold = new RunFold({ terminalTypes });
    this.#stand(lastEventId);
  }

  /** The run document after all that was seen; the same object until something changes. */
  get run() {
    this.#run ??= this.#fold.document(this.#executionId, this.#workflowId);
    return this.#run;
  }

  /** Take in one event; false if it was seen before. */
  add(event) {
    const id = parseId(event.id);
    if (hasSeen(this.#position, id)) return false;
    if (id) this.#stand(event.id);
    this.#fold.add(event);
    this.#show(event);
    if (this.#terminalTypes.includes(event.type)) this.ending ??= this.run.status;
    return true;
  }

  /** The history has begun anew, or this reader's place in it is gone: so does the run. */
  reset(notice) {
    this.#stand(null);
    this.#fold = new RunFold({ terminalTypes: this.#terminalTypes });
    this.#show({ type: RESET, ...notice });
  }

  /** Events were asked for that are no longer kept. */
  gap(notice) {
    this.#show({ type: "stream:gap", ...notice });
  }

  /** The execution has ended so, and its events are no longer kept. */
  endedAs(status) {
    this.ending ??= status;
  }

  /** Whether all up to the event with this id was seen. */
  hasSeen(id) {
    return hasSeen(this.#position, parseId(id));
  }

  /** Take in the events of a poll that asked for those after `lastEventId`; those that are new.
   * A poll says by its first event what a stream says by `stream:gap` and `stream:reset`. */
  addPolled(events) {
    const first = parseId(events[0]?.id);
    const position = this.#position;
    const before = this.seen.length;
    if (position && first && first.epoch !== position.epoch) {
      this.reset({ reason: "history_lost" });
    } else if (position && first && first.seq > position.seq + 1) {
      const [from, to] = [position.seq + 1, first.seq - 1];
      const name = (seq) => `${first.epoch}-${seq}`;
      this.gap({ from: name(from), to: name(to), missed: to - from + 1 });
    }
    for (const event of events) this.add(event);
    return this.seen.slice(before);
  }

  #stand(id) {
    this.lastEventId = id;
    this.#position = parseId(id);
  }

  #show(event) {
    this.#run = null;
    this.seen.push(event);
  }
}
