// The run as bars on a time axis: a bar for each step, and one for each wait.

import { byId, clock, element, lasted, moment, shown, stayingAtEnd, write } from "./dom.js";

/** @import { Run, StepLog } from "/api/v1/sse/client/index.js" */
/** Times in milliseconds since 1970, NaN where unknown.
 * @typedef {{ name: string, state: keyof typeof WORDS, from: number, to: number,
 *   duration?: number | null, problem?: string | null, details: Record<string, unknown> }} Row */
/** What the axis shows, and the last moment that is known of the run.
 * @typedef {{ from: number, to: number, last: number }} Times */

// Space for a label of the axis, in CSS pixels.
const LABEL = 72;
// More rows than this scroll.
const MANY = 20;
// What people count in, in seconds.
const DAY = 86400;
const NICE = [
  0.1,
  0.2,
  0.5,
  1,
  2,
  5,
  10,
  15,
  30,
  60,
  120,
  300,
  600,
  900,
  1800,
  3600,
  7200,
  21600,
  43200,
  DAY,
];
const WORDS = {
  running: "runs",
  success: "done",
  error: "failed",
  interrupted: "interrupted",
  waiting: "waits",
};
const NO_STEPS = ["No step has begun yet.", "Nothing is known of any step."];
// They go on until now.
const OPEN = ["running", "waiting"];

/**
 * Draw `run` as it is `now` (milliseconds since 1970).
 * @param {Run} run
 * @param {number} now
 */
export function drawTimeline(run, now) {
  const rows = inOrder([...run.execution_logs.map(stepRow), ...waits(run)]);
  const known = [moment(run.started_at), ...rows.flatMap((row) => [row.from, row.to])].filter(
    Number.isFinite,
  );
  const isOver = !["pending", "running", "paused"].includes(run.status);
  // Of an ended run whose end is at an unknown time, the axis stands still too.
  const last = isOver ? moment(run.completed_at) || Math.max(0, ...known) : now;
  const from = Math.min(last, ...known);
  const to = Math.max(from + 1000, last, ...known);
  byId("no-steps").hidden = rows.length > 0;
  write(
    byId("no-steps"),
    run.complete === false ? "None of its steps is kept." : NO_STEPS[+isOver],
  );
  byId("steps").hidden = rows.length === 0;
  byId("steps").classList.toggle("long", rows.length > MANY);
  stayingAtEnd(byId("steps"), () => drawRows(rows, { from, to, last }));
  byId("axis").replaceChildren(...ticks(to - from));
}

/**
 * @param {Row[]} rows
 * @param {Times} times
 */
function drawRows(rows, times) {
  const timeline = byId("timeline");
  while (timeline.children.length > rows.length) timeline.lastChild?.remove();
  while (timeline.children.length < rows.length) timeline.append(line());
  // Rows are kept: the pointer may be over one, or the focus on it.
  const items = [.../** @type {Iterable<HTMLElement>} */ (timeline.children)];
  rows.forEach((row, n) => fill(items[n], row, times));
}

const inOrder = (/** @type {Row[]} */ rows) =>
  rows.sort((one, other) => (one.from || 0) - (other.from || 0));

/**
 * @param {StepLog} step
 * @returns {Row}
 */
function stepRow(step) {
  return {
    name: shown(step.node_type ?? step.node_id ?? "step"),
    state: step.status,
    from: moment(step.started_at),
    to: moment(step.completed_at),
    duration: step.duration_ms,
    problem: step.error && shown(step.error),
    details: { node: step.node_id, output: step.output && shown(step.output) },
  };
}

/** From each pause to the step that ended it.
 * @param {Run} run */
function waits(run) {
  /** @type {Row[]} */
  const rows = [];
  /** @type {Row | null} */
  let open = null;
  for (const event of run.events) {
    const { timestamp } = /** @type {{ timestamp?: unknown }} */ (event);
    const at = moment(timestamp);
    if (event.type === "execution:paused") {
      const waitingFor = event.data?.waiting_for && shown(event.data.waiting_for);
      open = {
        name: `waits for ${shown(event.data?.reason ?? "somebody")}`,
        state: "waiting",
        from: at,
        to: NaN,
        details: { "waiting for": waitingFor },
      };
      rows.push(open);
    } else if (open && /^(step:(started|completed|failed)$|execution:)/.test(event.type)) {
      open.to = at;
      open = null;
    }
  }
  return rows;
}

function line() {
  const item = element(
    "li",
    "",
    element("span", "name"),
    element("div", "track", element("div", "bar")),
    element("span", "lasted"),
    element("span", "problem"),
    element("dl", "details"),
  );
  item.tabIndex = 0;
  return item;
}

/**
 * @param {HTMLElement} item as `line` makes it
 * @param {Row} row
 * @param {Times} times
 */
function fill(item, row, times) {
  const [name, track, lasting, problem, details] = /** @type {Iterable<HTMLElement>} */ (
    item.children
  );
  const isOpen = OPEN.includes(row.state);
  // What is not known is no bar, but a mark at what is.
  const begin = row.from || (!isOpen && row.to) || times.from;
  const end = row.to || (isOpen ? times.last : begin);
  const milliseconds = isOpen ? end - row.from : (row.duration ?? NaN);
  const took = lasted(milliseconds) || "unknown";
  place(/** @type {HTMLElement} */ (track.firstChild), row.state, { begin, end }, times);
  write(name, row.name);
  write(lasting, took);
  write(problem, row.problem ?? "");
  item.dataset.state = row.state;
  item.setAttribute(
    "aria-label",
    [row.name, WORDS[row.state], took, row.problem].filter(Boolean).join(", "),
  );
  fillDetails(details, {
    state: WORDS[row.state],
    began: clock(row.from),
    ended: clock(row.to),
    took,
    ...row.details,
  });
}

/**
 * @param {HTMLElement} bar
 * @param {string} state
 * @param {{ begin: number, end: number }} span
 * @param {Times} times
 */
function place(bar, state, { begin, end }, { from, to }) {
  bar.className = `bar ${state}`;
  // By script: the page's policy does not allow a style in the markup.
  bar.style.left = `${(100 * (begin - from)) / (to - from)}%`;
  bar.style.width = `${(100 * Math.max(0, end - begin)) / (to - from)}%`;
}

/**
 * @param {HTMLElement} list
 * @param {Record<string, unknown>} details
 */
function fillDetails(list, details) {
  const known = Object.entries(details).filter(([, value]) => value);
  const text = JSON.stringify(known);
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(
    ...known.flatMap(([key, value]) => [element("dt", "", key), element("dd", "", String(value))]),
  );
}

/** A label at each round number of seconds, as many as fit.
 * @param {number} span */
function ticks(span) {
  const width = byId("axis").clientWidth;
  const wanted = Math.max(1, Math.floor(width / LABEL));
  // Whole days beyond that: a producer's clock may be wrong by thousands of years.
  const days = Math.ceil(span / 1000 / wanted / DAY) * DAY;
  const step = (NICE.find((one) => span / 1000 / one <= wanted) ?? days) * 1000;
  const marks = [];
  for (let at = 0; at <= span && (at / span) * width <= width - LABEL / 2; at += step) {
    const mark = element("span", "", at === 0 ? "0" : shortly(at));
    mark.style.left = `${(100 * at) / span}%`;
    marks.push(mark);
  }
  return marks;
}

/** @param {number} milliseconds */
function shortly(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 3600) return `${Number((seconds / 60).toFixed(1))} min`;
  return `${Number((seconds / 3600).toFixed(1))} h`;
}
