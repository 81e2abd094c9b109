// Small words for the document. Whatever an event holds enters it as text, never as HTML.

// So many characters of a name or a reason are shown; the log has all of them.
const LONGEST = 500;

export const byId = (id) => document.getElementById(id);

export function element(name, className = "", ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content);
  return made;
}

/** Set the text of `node`, unless it is that already: it would lose a selection, or be read out anew. */
export function write(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

/** Do `change`, after which `list` shows its end if it did so before. */
export function stayingAtEnd(list, change) {
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  change();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

/** How long, for people. */
export function lasted(milliseconds) {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return "";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.1) return `${Math.round(milliseconds)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** What a producer has sent in place of a text, as text: what is none as JSON, a long one cut.
 * `String` would run into members of the value that are called `toString`. */
export function shown(value) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** Milliseconds since 1970 of a time, one without a zone being UTC; NaN for none. */
export function moment(time) {
  if (typeof time !== "string") return NaN;
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(time) ? time : `${time}Z`);
}

// Made once: to make one takes as long as to draw a row.
const format = (digits) =>
  new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: digits,
  });
const TO_THE_SECOND = format();
const TO_THE_MILLISECOND = format(3);

const spoken = (time, { format }) => (Number.isFinite(time) ? format(time) : "");

/** The time of day here, of milliseconds since 1970; empty for none. */
export const clock = (time) => spoken(time, TO_THE_SECOND);

/** The same to the millisecond. */
export const exactClock = (time) => spoken(time, TO_THE_MILLISECOND);
