// The run as bars on a time axis: a row for each step, wait and gap. Of a long run it shows the last
// steps, until the user zooms out.

import { byId, clock, element, lasted, moment, shortly, stayAtEnd, write } from "./dom.js";
import { asideOf, barsOf, extent, isOpen, rowsOf, rowsShown } from "./rows.js";
import { isOnly } from "./log.js";
import { number } from "./language.js";
import { TEXTS, textOf } from "./texts.js";
import { MANY, NICE, viewOf } from "./zoom.js";

/** @import { ExecutionEvent, Run } from "/api/v1/sse/client/executions.js" */
/** @import { Bar, Row, Span } from "./rows.js" */
/** @import { View } from "./zoom.js" */
/** `least`: of a bar, in milliseconds.
 * @typedef {View & { least: number }} Part */

// Space for a label of the axis, in CSS pixels.
const LABEL = 84;
// Nothing smaller is a bar of its own, in CSS pixels.
const SLIVER = 4;
// More rows than this are not drawn: zoom in, or go to earlier ones.
const MOST = 200;
const DAY = 86400;
// Of the axis of a long run: it ends at most one of them after now.
const PARTS = 64;

// Of the axis and of each track, in CSS pixels; to ask in each frame would lay out the page once more.
let width = 600;
new ResizeObserver(([{ contentRect }]) => {
  width = contentRect.width || width;
}).observe(byId("axis"));
stayAtEnd(byId("steps")).observe(byId("timeline"));

/** Of the run that was drawn last.
 * @type {ReturnType<typeof knownOf> | null} */
let known = null;

/**
 * Draw `run`, of which this page knows what happened until `now` (milliseconds since 1970).
 * @param {Run} run
 * @param {readonly ExecutionEvent[]} events with the gaps and resets of its streams
 * @param {number} now
 * @param {boolean} isKnown whether this page knows the run at this moment
 */
export function drawTimeline(run, events, now, isKnown) {
  if (run !== known?.run || events.length !== known.events) known = knownOf(run, events);
  const { rows, steps } = known;
  const whole = extentOf(known, now);
  if (!isOver(run) && rows.length > MANY) whole.to = roundedUp(whole);
  const view = viewOf(run.id, whole, { steps, rows: rows.length });
  const seen = view.isPart ? rows.filter(({ spans }) => spans.some(isIn(view))) : rows;
  const drawn = seen.slice(-MOST);
  byId("no-steps").hidden = rows.length > 0;
  write(byId("no-steps"), noSteps(run, isKnown));
  byId("steps").hidden = rows.length === 0;
  byId("steps").classList.toggle("long", seen.length > MANY);
  drawRows(byId("timeline"), drawn, view, width);
  drawAxis(view);
  const isAll = !view.isPart && drawn.length === rows.length;
  const count = () => drawn.flatMap(({ spans }) => spans.filter(isIn(view))).filter(isStep).length;
  write(byId("part"), isAll ? "" : TEXTS.rows.part(count(), steps.length));
}

const isStep = (/** @type {Span} */ { state }) =>
  !["waiting", "missing", "restarted"].includes(state);

const isOver = (/** @type {Run} */ { status }) =>
  !["pending", "running", "paused"].includes(status);

/** Why there is no row.
 * @param {Run} run
 * @param {boolean} isKnown */
function noSteps(run, isKnown) {
  if (run.complete === false) return TEXTS.rows.noneKept;
  if (isOver(run)) return TEXTS.rows.unknown;
  return isKnown ? TEXTS.rows.none : "";
}

/** What does not change between events: thousands of steps are not read again at each tick.
 * @param {Run} run
 * @param {readonly ExecutionEvent[]} events */
export function knownOf(run, events) {
  const { rows, steps } = rowsOf(run, events);
  let [first, latest] = [Infinity, -Infinity];
  for (const { from, to } of [{ from: moment(run.started_at), to: NaN }, ...rows, ...steps]) {
    for (const one of [from, to].filter(Number.isFinite)) {
      first = Math.min(first, one);
      latest = Math.max(latest, one);
    }
  }
  return { run, events: events.length, rows, steps, first, latest };
}

/** From the first to the last moment that is known.
 * @param {ReturnType<typeof knownOf>} known
 * @param {number} now */
export function extentOf({ run, first, latest }, now) {
  // Of an ended run whose end is at an unknown time, the axis stands still too.
  const last = isOver(run) ? moment(run.completed_at) || Math.max(0, latest) : now;
  const from = Math.min(last, first);
  return { from, to: Math.max(from + 1000, last, latest), last };
}

/** The end of the axis of a long run: it moves now and then, and all bars with it.
 * @param {{ from: number, to: number }} whole */
function roundedUp({ from, to }) {
  const part = 2 ** Math.floor(Math.log2((to - from) / PARTS));
  return from + Math.ceil((to - from) / part) * part;
}

/** @param {View} view
 * @returns {(span: Span) => boolean} */
const isIn = (view) => (span) => {
  const [begin, end] = extent(span, view.from, view.last);
  return end >= view.from && begin <= view.to;
};

/**
 * @param {HTMLElement} timeline the list
 * @param {Row[]} rows
 * @param {View} view
 * @param {number} across how wide a track is, in CSS pixels
 */
export function drawRows(timeline, rows, view, across) {
  // The element of a row that has left is that of a new one.
  const keys = new Set(rows.map(keyOf));
  for (const item of [...timeline.children]) {
    if (keys.has(drawnAs.get(item)?.key ?? "")) break;
    timeline.append(item);
  }
  while (timeline.children.length > rows.length) timeline.lastChild?.remove();
  while (timeline.children.length < rows.length) timeline.append(line());
  const least = (SLIVER * (view.to - view.from)) / across;
  // Rows are kept: the pointer may be over one, or the focus on it.
  const items = [.../** @type {Iterable<HTMLElement>} */ (timeline.children)];
  rows.forEach((row, n) => {
    rowsShown.set(items[n], row);
    const current = String(isOnly(row));
    if (items[n].ariaCurrent !== current) items[n].ariaCurrent = current;
    if (!isDrawn(items[n], row, { ...view, least })) fill(items[n], row, { ...view, least });
  });
}

const keyOf = (/** @type {Row} */ { name, from }) => `${from} ${name}`;

/** What each element of a row shows.
 * @type {WeakMap<Element, { key: string, spans: Span[], view: Part }>} */
const drawnAs = new WeakMap();

/** Whether `item` shows this part of `row` already; from now on it does. What is open grows.
 * @param {Element} item
 * @param {Row} row
 * @param {Part} view */
function isDrawn(item, row, view) {
  const { spans } = row;
  const before = drawnAs.get(item);
  drawnAs.set(item, { key: keyOf(row), spans, view });
  return (
    before?.spans.length === spans.length &&
    before.view.from === view.from &&
    before.view.to === view.to &&
    before.view.least === view.least &&
    spans.every((span, n) => span === before.spans[n] && !isOpen(span))
  );
}

function line() {
  const item = element(
    "li",
    "",
    element("span", "name"),
    element("div", "track"),
    element("span", "lasted"),
    element("span", "problem"),
    element("div", "more", element("dl", "details")),
  );
  item.tabIndex = 0;
  return item;
}

/**
 * @param {HTMLElement} item as `line` makes it
 * @param {Row} row
 * @param {Part} view
 */
function fill(item, row, view) {
  const [name, track, lasting, problem, more] = /** @type {Iterable<HTMLElement>} */ (
    item.children
  );
  const { bars, lanes } = barsOf(row, view);
  drawBars(track, bars, lanes, view);
  const [begin, end] = extent(row, view.from, view.last);
  const took =
    lasted(isOpen(row) && row.spans.length === 1 ? end - row.from : (row.duration ?? NaN)) ||
    TEXTS.run.unknown;
  const aside = asideOf(row, row.state in TIMELESS ? "" : took);
  write(name, row.name);
  write(lasting, aside);
  write(problem, row.problem ?? "");
  item.dataset.state = row.state;
  item.setAttribute(
    "aria-label",
    [row.name, TEXTS.states[row.state], aside, row.problem].filter(Boolean).join(", "),
  );
  fillDetails(/** @type {HTMLElement} */ (more.firstChild), {
    state: TEXTS.states[row.state],
    began: clock(row.from),
    ended: clock(row.to),
    took: row.spans.length > 1 ? lasted(end - begin) : took,
    ...row.details,
    lanes: lanes > 1 && TEXTS.rows.together(lanes),
  });
}

// They are no time that somebody took.
const TIMELESS = { missing: true, restarted: true };

/**
 * @param {HTMLElement} track
 * @param {Bar[]} bars
 * @param {number} lanes
 * @param {View} view
 */
function drawBars(track, bars, lanes, { from, to }) {
  while (track.children.length > bars.length) track.lastChild?.remove();
  while (track.children.length < bars.length) track.append(element("div"));
  track.style.height = lanes === 1 ? "" : `${Math.max(1.3, 0.55 * lanes)}rem`;
  bars.forEach((bar, n) => {
    const made = /** @type {HTMLElement} */ (track.children[n]);
    const [begin, end] = [Math.max(from, bar.from), Math.min(to, bar.to)];
    const cut = `${bar.from < from ? " cut-begin" : ""}${bar.to > to ? " cut-end" : ""}`;
    made.className = `bar ${bar.state}${cut}`;
    // By script: the page's policy does not allow a style in the markup.
    made.style.left = percent(begin - from, to - from);
    made.style.width = percent(end - begin, to - from);
    made.style.top = percent(bar.lane, lanes);
    made.style.height = percent(1, lanes);
  });
}

const percent = (/** @type {number} */ part, /** @type {number} */ whole) =>
  `${((100 * Math.max(0, part)) / whole).toFixed(3)}%`;

/**
 * @param {HTMLElement} list
 * @param {Record<string, unknown>} details
 */
function fillDetails(list, details) {
  const known = Object.entries(details).filter(([, value]) => value);
  const text = JSON.stringify(known);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(
    ...known.flatMap(([key, value]) => [
      element("dt", "", textOf(TEXTS.details, key)),
      element("dd", "", typeof value === "number" ? number(value) : String(value)),
    ]),
  );
}

let axis = "";

/** @param {View} view */
function drawAxis(view) {
  const text = [view.begin, view.from, view.to, width].join();
  if (text !== axis) byId("axis").replaceChildren(...ticks(view));
  axis = text;
}

/** A label at each round number of seconds since the run began, as many as fit.
 * @param {View} view */
function ticks({ begin, from, to }) {
  const span = to - from;
  const wanted = Math.max(1, Math.floor(width / LABEL));
  // Whole days beyond that: a producer's clock may be wrong by thousands of years.
  const days = Math.ceil(span / 1000 / wanted / DAY) * DAY;
  const step = (NICE.find((one) => span / 1000 / one <= wanted) ?? days) * 1000;
  const marks = [];
  for (let at = Math.ceil((from - begin) / step) * step; at <= to - begin; at += step) {
    const share = (begin + at - from) / span;
    if (share * width > width - LABEL / 2) break;
    const mark = element("span", "", at === 0 ? "0" : shortly(at));
    mark.style.left = `${100 * share}%`;
    marks.push(mark);
  }
  return marks;
}
