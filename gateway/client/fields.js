// Reads single fields of producers' events, which may hold any value or be missing.
//
// Each reader returns the field's value if it has the right form, else null. None throws, none
// guesses. The gateway reads fields by the same rules (gateway/events/fields.py).

// ISO 8601 as RFC 3339 narrows it, and `str()` of a Python datetime. `Date.parse` takes more.
const TIME =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(?:Z|([+-]\d{2}):?(\d{2}))?$/;
// Above this, JavaScript cannot represent every integer.
const LARGEST = 2 ** 53;

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * `value` if it is an object, else an empty object.
 * @param {unknown} value
 */
export const object = (value) => (isObject(value) ? value : {});

/**
 * The time that `value` is, with its zone; a time without a zone is UTC. Its digits stay the same.
 * @param {unknown} value
 */
export function time(value) {
  const match = typeof value === "string" ? TIME.exec(value) : null;
  if (!match) return null;
  const [, year, month, day, hours, minutes, seconds, fraction = "", zoneHours, zoneMinutes] =
    match;
  if (!exists([year, month, day, hours, minutes, seconds].map(Number))) return null;
  const hasZone = zoneHours !== undefined;
  if (hasZone && !(Number(zoneHours.slice(1)) < 24 && Number(zoneMinutes) < 60)) return null;
  const isUtc = !hasZone || (zoneHours.slice(1) === "00" && zoneMinutes === "00");
  const zone = isUtc ? "Z" : `${zoneHours}:${zoneMinutes}`;
  return `${year}-${month}-${day}T${hours}:${minutes}:${seconds}${fraction}${zone}`;
}

/**
 * Whether there is such a time: false for the 30th of February, and for 25 o'clock.
 * @param {number[]} time
 */
function exists([year, month, day, hours, minutes, seconds]) {
  if (year < 1 || hours > 23 || minutes > 59 || seconds > 59) return false;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/**
 * Milliseconds from `begin` to `end`, both as `time` returns them or null; never negative.
 * @param {string | null} begin
 * @param {string | null} end
 */
export function milliseconds(begin, end) {
  return begin === null || end === null ? null : Math.max(0, sinceEpoch(end) - sinceEpoch(begin));
}

/**
 * Milliseconds since the epoch of a time as `time` returns it, rounded down.
 * @param {string} text
 */
export function sinceEpoch(text) {
  // Engines read a fraction with other than three digits in different ways.
  return Date.parse(text.replace(/(\.\d{3})\d+/, "$1").replace(/\.(\d{1,2})(?=\D)/, padded));
}

/** @type {(match: string, digits: string) => string} */
const padded = (_, digits) => `.${digits.padEnd(3, "0")}`;

/**
 * A count or a measure: a number that is not negative.
 * @param {unknown} value
 */
export function number(value) {
  return typeof value === "number" && value >= 0 && value <= LARGEST ? value : null;
}

/**
 * A name or an id: text, or a whole number as text.
 * @param {unknown} value
 */
export function label(value) {
  if (typeof value === "string") return value;
  return Number.isInteger(value) ? String(value) : null;
}

/**
 * A description of what went wrong: the first of `names` that holds text, or an object with a text
 * `message`.
 * @param {Record<string, unknown>} data
 * @param {string[]} names
 */
export function problem(data, ...names) {
  for (const name of names) {
    const value = data[name];
    const text = isObject(value) ? value.message : value;
    if (typeof text === "string") return text;
  }
  return null;
}
