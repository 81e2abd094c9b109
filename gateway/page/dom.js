// Helpers for the document. Values of events always enter it as text, never as HTML.

import { LANGUAGE, number } from "./language.js";

// A longer name or reason is cut after so many characters; the log has all of them.
const LONGEST = 500;
// In CSS pixels: less than a line is no scrolling; and beyond the end of every list.
const SCROLLED = 8;
const FAR = 1e7;

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
 * From now on `list` shows its end, unless the user has scrolled away from it: when the content that is
 * observed has been laid out, since to scroll costs nothing more then.
 * @param {HTMLElement} list
 */
export function stayAtEnd(list) {
  let isAway = false;
  let top = 0;
  const scrolled = () => {
    const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - SCROLLED;
    // Only upwards is away: when a scroll to the end is announced, the list may have grown already.
    isAway = !isAtEnd && (isAway || list.scrollTop < top);
    top = list.scrollTop;
  };
  list.addEventListener("scroll", scrolled, { passive: true });
  const observer = new ResizeObserver(() => {
    if (!isAway) list.scrollTop = FAR;
    // A list that has shrunk has scrolled too.
    top = list.scrollTop;
  });
  return {
    isAway: () => isAway,
    /** Instead of what was observed before.
     * @param {Element} content */
    observe(content) {
      observer.disconnect();
      observer.observe(content);
    },
  };
}

/** Put the page into its language: its elements name their texts. They have the English ones.
 * @param {Record<string, string>} texts */
export function fillTexts(texts) {
  document.documentElement.lang = LANGUAGE;
  if (LANGUAGE === "en") return;
  for (const name of ["text", "aria-label", "placeholder", "title", "content", "href"]) {
    for (const node of document.querySelectorAll(`[data-${name}]`)) {
      const text = texts[node.getAttribute(`data-${name}`) ?? ""];
      if (name === "text") write(node, text);
      else node.setAttribute(name, text);
    }
  }
}

/** A number with one decimal. Of a wrong clock it may be a large one: short, so that it fits its line. */
export const { format: digits } = new Intl.NumberFormat(LANGUAGE, {
  useGrouping: false,
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const { format: upToOneDigit } = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });

/** With the seconds in each.
 * @type {[number, string][]} */
const UNITS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/**
 * A duration for people: in its largest units, two by default, without what is zero.
 * @param {number | null} milliseconds
 * @param {(seconds: number) => string} [inSeconds] how to write less than a minute
 * @param {number} [units]
 */
export function lasted(milliseconds, inSeconds = digits, units = 2) {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return "";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${inSeconds(seconds)} s`;
  let rest = Math.max(60, seconds);
  const first = UNITS.findIndex(([size]) => rest >= size);
  const parts = UNITS.slice(first, first + units).map(([size, unit]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count && `${number(count)} ${unit}`;
  });
  return parts.filter(Boolean).join(" ");
}

/** The same for an axis: whole seconds without a decimal.
 * @param {number} milliseconds */
export const shortly = (milliseconds) => lasted(milliseconds, upToOneDigit);

/** How long ago that was, in its largest unit.
 * @param {number} time milliseconds since 1970 */
export const ageSince = (time) =>
  lasted(Math.max(1, Math.round((Date.now() - time) / 1000)) * 1000, upToOneDigit, 1);

/**
 * A number of bytes for people.
 * @param {number} bytes
 */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${digits(bytes / 1000)} kB` : `${digits(bytes / 1e6)} MB`;
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
  new Intl.DateTimeFormat(LANGUAGE, {
    hourCycle: "h23",
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
