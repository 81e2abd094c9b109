// Reads single fields of producers' events, which may hold any value or be missing.
//
// Each reader returns the field's value if it has the right form, else null. None throws, none
// guesses. The gateway reads fields by the same rules (gateway/events/fields.py).

// ISO 8601 as RFC 3339 narrows it, and `str()` of a Python datetime. `Date.parse` takes more. Year 1
// is what Go writes for a time that is not set.
const TIME =
  /^(?!000[01])(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(?:Z|([+-]\d{2}):?(\d{2}))?$/;
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
 * The time that `value` is, with its zone: text, where a missing zone is UTC and the digits stay the
 * same, or a Unix time.
 * @param {unknown} value
 */
export function time(value) {
  if (typeof value === "number") return unixTime(value);
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
  if (hours > 23 || minutes > 59 || seconds > 59) return false;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/**
 * Seconds, milliseconds or microseconds: from 1973 to 5138 their sizes do not overlap.
 * @param {number} value
 */
function unixTime(value) {
  if (!(value >= 1e8 && value < 1e17)) return null;
  const milliseconds = value < 1e11 ? value * 1000 : value < 1e14 ? value : value / 1000;
  return new Date(Math.floor(milliseconds)).toISOString();
}

/**
 * The time in the field `name`; `otherwise` where there is no such field. A value that is no time
 * gives null: another time in its place would be a guess.
 * @param {Record<string, unknown>} data
 * @param {string} name
 * @param {string | null} otherwise
 */
export const timeIn = (data, name, otherwise) =>
  (data[name] ?? null) === null ? otherwise : time(data[name]);

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
 * What went wrong: the first of `names` that holds text or an object with a text `message`, else the
 * first that holds a number, an object or a list, as JSON.
 * @param {Record<string, unknown>} data
 * @param {string[]} names
 */
export function problem(data, ...names) {
  const values = names.map((name) => data[name] ?? false);
  for (const value of values) {
    const text = isObject(value) ? value.message : value;
    if (typeof text === "string") return text;
  }
  const unusual = values.find((value) => typeof value !== "boolean");
  return unusual === undefined ? null : json(unusual);
}

/** @param {unknown} value */
function json(value) {
  try {
    return JSON.stringify(value);
  } catch {
    return "an error that cannot be shown as text";
  }
}
