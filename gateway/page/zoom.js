// Which part of a run the timeline shows: all of a short one, the last steps of a long one, or what the
// user has zoomed to.

import { byId, element } from "./dom.js";
import { TEXTS } from "./texts.js";

/** @import { Span } from "./rows.js" */
/** Milliseconds since 1970; `last`: the last moment that is known of the run, `begin`: its first.
 * @typedef {{ begin: number, from: number, to: number, last: number, isPart: boolean }} View */

// What people count in, in seconds.
export const NICE = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800],
  ...[3600, 7200, 21600, 43200, 86400],
];
/** Instead of its text.
 * @type {Record<string, string>} */
const SIGNS = { earlier: "‹", later: "›", in: "+", out: "−" };
const LAST_STEPS = 12;
// More rows than these are too many to see at once.
export const MANY = 20;
const LEAST_MS = 100;

/** What the user has chosen for this run: `span` in milliseconds, null for what fits; `end`: null for
 * the run's own, which moves on.
 * @type {{ id: string, span: number | null, end: number | null }} */
let chosen = { id: "", span: null, end: null };
/** What is shown, and of what.
 * @type {{ from: number, to: number, whole: { from: number, to: number } } | null} */
let shown = null;
let redraw = () => {};

/**
 * The part of the run `id` that is to be shown; it goes from `whole.from` to `whole.to`.
 * @param {string} id
 * @param {{ from: number, to: number, last: number }} whole
 * @param {{ steps: Span[], rows: number }} run
 * @returns {View}
 */
export function viewOf(id, whole, { steps, rows }) {
  if (chosen.id !== id) chosen = { id, span: null, end: null };
  const { span = null, end } = chosen;
  const to = Math.min(whole.to, end ?? whole.to);
  const wanted = span ?? (rows > MANY ? roomFor(steps, whole) : Infinity);
  const from = Math.max(whole.from, to - wanted);
  const isPart = from > whole.from || to < whole.to;
  shown = { from, to: Math.max(to, from + LEAST_MS), whole };
  byId("zoom").hidden = steps.length <= MANY && !isPart;
  for (const [name, isIdle] of Object.entries({
    earlier: from <= whole.from,
    later: to >= whole.to,
    in: to - from <= LEAST_MS * 2,
    out: !isPart,
    whole: !isPart,
    latest: chosen.span === null,
  })) {
    buttons[name].toggleAttribute("disabled", isIdle);
  }
  return { begin: whole.from, last: whole.last, from, to: shown.to, isPart };
}

/** A round time in which the last steps have begun, so that the axis does not change with each step.
 * @param {Span[]} steps
 * @param {{ to: number }} whole */
function roomFor(steps, { to }) {
  const first = steps.slice(-LAST_STEPS).find(({ from }) => Number.isFinite(from));
  const seconds = (to - (first?.from ?? -Infinity)) / 1000;
  return (NICE.find((one) => one >= seconds) ?? Infinity) * 1000;
}

/** @param {string} name */
function press(name) {
  if (!shown) return;
  const { from, to, whole } = shown;
  const span = to - from;
  if (name === "whole") Object.assign(chosen, { span: Infinity, end: null });
  else if (name === "latest") Object.assign(chosen, { span: null, end: null });
  else if (name === "in") Object.assign(chosen, { span: span / 2 });
  else if (name === "out") Object.assign(chosen, { span: span * 2 });
  else {
    const end = to + (name === "later" ? span / 2 : -span / 2);
    // Never before the first part, and at the end it moves on with the run.
    const least = Math.max(end, whole.from + span);
    Object.assign(chosen, { span, end: least >= whole.to ? null : least });
  }
  redraw();
}

/** @type {Record<string, HTMLButtonElement>} */
const buttons = {};

/** Show the buttons; `draw` is called when one was used.
 * @param {() => void} draw */
export function beginZoom(draw) {
  redraw = draw;
  for (const [name, text] of Object.entries(TEXTS.zoom)) {
    const button = element("button", "", SIGNS[name] ?? text);
    if (SIGNS[name]) button.setAttribute("aria-label", text);
    button.addEventListener("click", () => press(name));
    buttons[name] = button;
    byId("zoom").append(button);
  }
}
