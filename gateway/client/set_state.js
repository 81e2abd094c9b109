// What is known of several executions that one stream brings: of each its run, and whether it goes on.

import { isEnding } from "./ending.js";
import { Refused, StreamError } from "./errors.js";
import { isAtOrAfter, parseId } from "./ids.js";
import { RunState } from "./run_state.js";

/** @import { Documents, RunDocuments } from "./documents.js" */
/** @import { Ending, TerminalTypes } from "./ending.js" */
/** @import { FollowedExecution } from "./executions.js" */

/** One execution of a set. */
export class Member {
  /** @type {RunDocuments | null} */
  documents = null;
  /** How the gateway says that it had ended, where no event has shown it.
   * @type {Ending | null} */
  endedAs = null;
  /** How many of its events the page was called for. */
  notified = 0;
  hasCompleted = false;
  /** @type {"following" | "absent" | "closed"} */
  #state = "following";
  /** @type {StreamError | null} */
  #error = null;
  /** @type {FollowedExecution | null} */
  #shown = null;

  /** @param {string} id
   * @param {readonly string[] | TerminalTypes} [terminalTypes] */
  constructor(id, terminalTypes) {
    this.id = id;
    this.run = new RunState({ executionId: id, workflowId: "-", terminalTypes });
  }

  /** Nothing more is expected of it. */
  get isOver() {
    const { endedAs, run } = this;
    return run.ending !== null || endedAs !== null || this.#state !== "following";
  }

  /** The same object until something changes. */
  get shown() {
    const { id, run } = this;
    const state = run.ending === null ? this.#state : "ended";
    const before = this.#shown;
    if (before?.run !== run.run || before.state !== state || before.error !== this.#error) {
      this.#shown = Object.freeze({ execution_id: id, run: run.run, state, error: this.#error });
    }
    return /** @type {FollowedExecution} */ (this.#shown);
  }

  /** It is unknown, or may not be seen. */
  leave() {
    this.#state = "absent";
  }

  /** @param {string} reason */
  #close(reason) {
    this.#state = "closed";
    this.#error = new StreamError("closed", `The gateway has closed it: ${reason}.`);
    this.#error.reason = reason;
  }

  /**
   * @param {string} type
   * @param {any} document
   */
  receive(type, document) {
    if (type === "stream:absent") return this.leave();
    if (type === "stream:closing") return this.#close(document.reason);
    this.#state = "following";
    this.#error = null;
    if (type === "stream:ended") {
      this.endedAs = isEnding(document.status) ? document.status : "ended";
      return;
    }
    // Polls may have seen it before.
    const isOld = isAtOrAfter(parseId(this.run.lastEventId), parseId(document.to));
    if (type !== "stream:gap" || !isOld) this.run.receive(type, document);
  }
}

export class SetState {
  /** The cursor of all of them. Only the gateway can read it.
   * @type {string | null} */
  lastEventId = null;
  #byId;
  /** @type {readonly FollowedExecution[]} */
  #shown = [];

  /** @param {Member[]} members */
  constructor(members) {
    this.members = members;
    this.#byId = new Map(members.map((one) => [one.id, one]));
  }

  /** The same object until something changes. */
  get executions() {
    const now = this.members.map((one) => one.shown);
    const isSame = now.every((one, n) => one === this.#shown[n]);
    return (this.#shown = isSame ? this.#shown : Object.freeze(now));
  }

  get ending() {
    return this.members.every((one) => one.isOver) ? "ended" : null;
  }

  /** @param {TerminalTypes} types */
  endsWith(types) {
    for (const { run } of this.members) run.endsWith(types);
  }

  /**
   * @param {string} type
   * @param {any} document
   * @param {string} [id]
   */
  receive(type, { execution_id: executionId, ...document }, id) {
    if (id !== undefined) this.lastEventId = id;
    this.#byId.get(executionId)?.receive(type, document);
  }
}

/**
 * @param {SetState} state
 * @returns {Documents}
 */
export const documentsOf = ({ members }) => ({
  async catchUp(headers, signal) {
    let refusal = null;
    const asked = members.filter((one) => !one.isOver);
    /** @type {Member[]} */
    const absent = [];
    for (const one of asked) {
      try {
        await one.documents?.catchUp(headers, signal);
      } catch (error) {
        if (!(error instanceof Refused && [403, 404].includes(error.status))) throw error;
        absent.push(one);
        refusal = error;
      }
    }
    // Where none may be seen, another token may help.
    if (refusal && absent.length === asked.length) throw refusal;
    for (const one of absent) one.leave();
  },
  async takeOver(headers, signal) {
    for (const one of members) {
      if (one.run.ending === null) await one.documents?.takeOver(headers, signal, one.endedAs);
    }
  },
});
