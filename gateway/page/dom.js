// Small words for the document. Whatever an event holds enters it as text, never as HTML.

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

/** How long, for people. */
export function lasted(milliseconds) {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return "";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Milliseconds since 1970 of a time, one without a zone being UTC; NaN for none. */
export const moment = (time) => Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(time) ? time : `${time}Z`);

const DAYTIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** The time of day here; with its milliseconds where three digits are asked for. */
export const clock = (time, digits) =>
  Number.isFinite(time)
    ? new Date(time).toLocaleTimeString("en-GB", { ...DAYTIME, fractionalSecondDigits: digits })
    : "";
