// How a run ended, as its terminal event says it. What is not known is `ended`, never guessed
// `completed`.
//
// The gateway has the same rules (gateway/events/ending.py); both are tested with
// tests/events/vectors/endings.jsonl.

/** @typedef {"completed" | "failed" | "canceled" | "ended"} Ending */
/** The types that end a run; a status where the gateway's operator has given one.
 * @typedef {Readonly<Record<string, Ending | null>>} TerminalTypes */

/** @type {Readonly<Record<string, Ending>>} */
const STANDARD = Object.freeze({
  "execution:completed": "completed",
  "execution:failed": "failed",
  "execution:canceled": "canceled",
  "execution:cancelled": "canceled",
});

/** The types of event that end an execution, unless its gateway is configured otherwise. */
export const TERMINAL_TYPES = Object.freeze(Object.keys(STANDARD));

// Without white space, case and punctuation: `timedout` is TIMED_OUT and `timed out` too.
const WORDS = /** @type {Map<string, Ending>} */ (
  new Map(
    Object.entries({
      failed:
        "failed failure error errors errored crashed timedout timeout killed rejected aborted",
      canceled: "canceled cancelled terminated terminatedbyuser terminatedbyauser",
      completed: "completed succeeded success successful finished done",
    }).flatMap(([status, words]) => words.split(" ").map((word) => [word, status])),
  )
);
const ERRORS = ["error", "error_message", "errors"];
const NEGATIONS = new Set(["not", "never", "no", "non", "un", "without"]);
const LONGEST = 128;
const ONE_WORD = /[A-Z]+(?![a-z])|[A-Z]?(?:[a-z0-9]|[^\0-\x7f])+/gu;

/**
 * How a run ended that ended with this event. In this order: what `terminalTypes` gives; the standard
 * types; `data.status`; an error in `data`; the last word of the type; else `ended`.
 * @param {string} type
 * @param {Record<string, unknown>} data
 * @param {TerminalTypes} [terminalTypes]
 * @param {unknown} [trimmed] the event's own member, of what was too large in its data
 * @returns {Ending}
 */
export function endingStatus(type, data, terminalTypes = STANDARD, trimmed = null) {
  const names = Array.isArray(trimmed) ? trimmed : [];
  const known = given(type, terminalTypes) ?? ofStatus(data.status);
  if (known) return known;
  if (ERRORS.some((name) => isSet(data[name]) || names.includes(name))) return "failed";
  const status = ofLastWord(type);
  // An error that is not known may deny a success.
  return status === "completed" && names.includes("data") ? "ended" : status;
}

/**
 * Whether a run with this status has ended.
 * @param {string | undefined} status
 * @returns {status is Ending}
 */
export const isEnding = (status) =>
  status === "ended" || [...WORDS.values()].includes(/** @type {Ending} */ (status));

/** @param {string} type
 * @param {TerminalTypes} terminalTypes */
function given(type, terminalTypes) {
  // A type may be called `constructor`.
  const own = Object.hasOwn(terminalTypes, type) ? terminalTypes[type] : null;
  return own ?? (Object.hasOwn(STANDARD, type) ? STANDARD[type] : null);
}

/** Empty lists and objects are no error, as null and false are none.
 * @param {unknown} value */
const isSet = (value) =>
  typeof value === "object" && value !== null ? Object.keys(value).length > 0 : Boolean(value);

/** @param {unknown} value */
const ofStatus = (value) =>
  typeof value === "string" && value.length <= LONGEST ? WORDS.get(wordsOf(value).join("")) : null;

/** @param {string} type
 * @returns {Ending} */
function ofLastWord(type) {
  const words = wordsOf(type);
  for (let count = 1; count <= Math.min(4, words.length); count += 1) {
    const status = WORDS.get(words.slice(-count).join(""));
    if (status && !NEGATIONS.has(words[words.length - count - 1])) return status;
  }
  return "ended";
}

/** Letters of other scripts belong to a word, and stay as they are: languages differ in their lower
 * case.
 * @param {string} text */
const wordsOf = (text) =>
  (text.match(ONE_WORD) ?? []).map((word) =>
    /^[\0-\x7f]*$/.test(word) ? word.toLowerCase() : word,
  );
