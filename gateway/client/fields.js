// Reads single fields of producers' events, which may hold anything or be missing.
//
// Each reader returns what a field is good for, or null; none of them throws, and none guesses. The
// gateway reads them by the same rules (gateway/events/fields.py).

// ISO 8601 as RFC 3339 narrows it, and `str()` of a Python datetime. Not all that `Date.parse` takes.
const TIME =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(?:Z|([+-]\d{2}):?(\d{2}))?$/;
// Above it JavaScript no longer tells integers apart.
const LARGEST = 2 ** 53;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The object that `value` is, or an empty one. */
export const object = (value) => (isObject(value) ? value : {});

/** The time that `value` is, with its zone: one without is UTC. The digits stay as they came. */
export function time(value) {
  const match = typeof value === "string" ? TIME.exec(value) : null;
  if (!match) return null;
  const [, year, month, day, hours, minutes, seconds, fraction = "", zoneHours, zoneMinutes] =
    match;
  if (!exists(year, month, day, hours, minutes, seconds)) return null;
  if (zoneHours !== undefined && !(Number(zoneHours.slice(1)) < 24 && zoneMinutes < 60))
    return null;
  const isUtc = zoneHours === undefined || (zoneHours.slice(1) === "00" && zoneMinutes === "00");
  const zone = isUtc ? "Z" : `${zoneHours}:${zoneMinutes}`;
  return `${year}-${month}-${day}T${hours}:${minutes}:${seconds}${fraction}${zone}`;
}

// Not the 30th of February, nor 25 o'clock.
function exists(year, month, day, hours, minutes, seconds) {
  if (year < 1 || hours > 23 || minutes > 59 || seconds > 59) return false;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === Number(day);
}

/** Milliseconds from `begin` to `end`, both as `time` gives them or null; never negative. */
export function milliseconds(begin, end) {
  return begin === null || end === null ? null : Math.max(0, sinceEpoch(end) - sinceEpoch(begin));
}

/** Milliseconds since the epoch of a time as `time` gives it, cut, not rounded. */
export function sinceEpoch(text) {
  // More than three digits of a fraction are read differently by different engines.
  return Date.parse(text.replace(/(\.\d{3})\d+/, "$1").replace(/\.(\d{1,2})(?=\D)/, padded));
}

const padded = (_, digits) => `.${digits.padEnd(3, "0")}`;

/** A count or a measure: a number that is not negative. */
export function number(value) {
  return typeof value === "number" && value >= 0 && value <= LARGEST ? value : null;
}

/** A name or an id: text, or a whole number as text. */
export function label(value) {
  if (typeof value === "string") return value;
  return Number.isInteger(value) ? String(value) : null;
}

/** What went wrong, in words: the first of `names` that holds text, or an object with a text
 * `message`. */
export function trouble(data, ...names) {
  for (const name of names) {
    const value = isObject(data[name]) ? data[name].message : data[name];
    if (typeof value === "string") return value;
  }
  return null;
}
