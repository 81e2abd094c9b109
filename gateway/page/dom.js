// Helpers for the document. Values of events always enter it as text, never as HTML.

// A longer name or reason is cut after so many characters; the log has all of them.
const LONGEST = 500;

/**
 * The element with this id; index.html has it.
 * @param {string} id
 */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * The form field with this id.
 * @param {string} id
 */
export const field = (id) => /** @type {HTMLInputElement | HTMLSelectElement} */ (byId(id));

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {string} className
 * @param {(Node | string)[]} content
 */
export function element(name, className = "", ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content);
  return made;
}

/**
 * Set the text of `node` if it is another one: else a selection would be lost, and a screen reader
 * would read it again.
 * @param {Node} node
 * @param {string} text
 */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Do `change`, after which `list` shows its end if it did so before.
 * @param {HTMLElement} list
 * @param {() => void} change
 */
export function stayingAtEnd(list, change) {
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  change();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

/**
 * A duration for people.
 * @param {number | null} milliseconds
 */
export function lasted(milliseconds) {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return "";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.1) return `${Math.round(milliseconds)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/**
 * A producer's value where a text is expected, as text: other values as JSON, a long text cut.
 * `String` would call members of the value that are named `toString`.
 * @param {unknown} value
 */
export function shown(value) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/**
 * Milliseconds since 1970 of a time: text, where one without a zone is UTC, or a Unix time in seconds,
 * milliseconds or microseconds. NaN if it is not a time.
 * @param {unknown} time
 */
export function moment(time) {
  if (typeof time === "number" && time >= 1e8 && time < 1e17) {
    return time < 1e11 ? time * 1000 : time < 1e14 ? time : time / 1000;
  }
  if (typeof time !== "string") return NaN;
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(time) ? time : `${time}Z`);
}

/** Made only once: to make a format takes as long as to draw a row.
 * @param {3} [digits] */
const format = (digits) =>
  new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: digits,
  });
const TO_THE_SECOND = format();
const TO_THE_MILLISECOND = format(3);

/**
 * The local time of day, of milliseconds since 1970; empty for NaN.
 * @param {number} time
 */
export const clock = (time) => (Number.isFinite(time) ? TO_THE_SECOND.format(time) : "");

/**
 * The same to the millisecond.
 * @param {number} time
 */
export const exactClock = (time) => (Number.isFinite(time) ? TO_THE_MILLISECOND.format(time) : "");
