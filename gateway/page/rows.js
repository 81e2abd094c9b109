// The rows of the timeline: one for each step, wait and gap of a run; a node that comes again and again
// has one row with all its steps.

import { lasted, moment, shown } from "./dom.js";
import { countAttempts } from "./one_step.js";
import { TEXTS } from "./texts.js";

/** @import { ExecutionEvent, Run, StepLog } from "/api/v1/sse/client/executions.js" */
/** @typedef {keyof typeof TEXTS.states} State */
/** Times in milliseconds since 1970, NaN where unknown.
 * @typedef {{ name: string, state: State, from: number, to: number, duration?: number | null,
 *   problem?: string | null, step?: StepLog, attempt?: number, details: Record<string, unknown> }} Span */
/** `spans`: in the order in which they began.
 * @typedef {Span & { spans: Span[] }} Row */
/** A bar: several spans where one alone would be a sliver.
 * @typedef {{ state: State, from: number, to: number, lane: number }} Bar */

// A node with so many steps is one row.
const REPEATED = 4;
// Lanes of a row, for steps that run at the same time.
const MOST_LANES = 8;

/** The row that an element shows.
 * @type {WeakMap<Element, Row>} */
export const rowsShown = new WeakMap();

/** They go on until now. */
export const isOpen = (/** @type {Span} */ { state }) => state === "running" || state === "waiting";

/**
 * The rows of `run`, in the order in which they began; `events` have its gaps too.
 * @param {Run} run
 * @param {readonly ExecutionEvent[]} events
 */
export function rowsOf(run, events) {
  const steps = run.execution_logs.map(stepOf);
  /** @type {Map<string, Row[]>} */
  const nodes = new Map();
  countAttempts(steps, events);
  for (const step of steps) {
    const known = nodes.get(step.name);
    if (known) known.push(step);
    else nodes.set(step.name, [step]);
  }
  const rows = [...waits(run.events), ...gaps(events)].map(alone);
  for (const spans of nodes.values()) {
    if (spans.length >= REPEATED) rows.push(together(spans.sort(byBegin)));
    else rows.push(...spans);
  }
  return { rows: rows.sort(byBegin), steps };
}

const byBegin = (/** @type {Span} */ one, /** @type {Span} */ other) =>
  (one.from || one.to || 0) - (other.from || other.to || 0);

/** A row of one step, which is that step too.
 * @param {Span} span
 * @returns {Row} */
function alone(span) {
  const row = { ...span, spans: /** @type {Span[]} */ ([]) };
  row.spans.push(row);
  return row;
}

/** One row of many steps.
 * @param {Span[]} spans
 * @returns {Row} */
function together(spans) {
  const last = spans[spans.length - 1];
  const of = (/** @type {State} */ state) => spans.filter((one) => one.state === state).length;
  const [running, failed, interrupted] = [of("running"), of("error"), of("interrupted")];
  const state = running
    ? "running"
    : last.state === "error" || interrupted === 0
      ? last.state
      : "interrupted";
  const took = spans.map((one) => one.duration ?? NaN).filter(Number.isFinite);
  took.sort((one, other) => one - other);
  return {
    name: last.name,
    state,
    spans,
    from: spans[0].from,
    to: running ? NaN : Math.max(...spans.map((one) => one.to)),
    problem: last.problem,
    details: {
      steps: spans.length,
      running,
      failed,
      interrupted,
      median: lasted(took[took.length >> 1] ?? null),
      longest: lasted(took[took.length - 1] ?? null),
    },
  };
}

/** What a row says beside its bars.
 * @param {Row} row
 * @param {string} took */
export function asideOf({ spans, attempt }, took) {
  if (spans.length > 1) return TEXTS.rows.steps(spans.length);
  return attempt ? [TEXTS.rows.attempt(attempt), took].filter(Boolean).join(" · ") : took;
}

/** Of steps that have not changed: to read their times takes as long as to draw them.
 * @type {WeakMap<StepLog, { row: Row, of: StepLog }>} */
const known = new WeakMap();

/** @param {StepLog} step */
function stepOf(step) {
  const before = known.get(step);
  if (before && CHANGING.every((name) => before.of[name] === step[name])) return before.row;
  const row = alone({
    name: shown(step.node_type ?? step.node_id ?? TEXTS.rows.step),
    state: step.status,
    from: moment(step.started_at),
    to: moment(step.completed_at),
    duration: step.duration_ms,
    problem: step.error && shown(step.error),
    step,
    details: { node: step.node_id, output: step.output && shown(step.output) },
  });
  known.set(step, { row, of: { ...step } });
  return row;
}

/** What the client changes in a step that it has made. */
const CHANGING = /** @type {const} */ (["status", "started_at", "completed_at"]);

/** @param {ExecutionEvent} event */
const timeOf = (event) => moment(/** @type {{ timestamp?: unknown }} */ (event).timestamp);

/** From each pause to the step that ended it.
 * @param {readonly ExecutionEvent[]} events */
function waits(events) {
  /** @type {Span[]} */
  const spans = [];
  /** @type {Span | null} */
  let open = null;
  for (const event of events) {
    if (event.type === "execution:paused") {
      const waitingFor = event.data?.waiting_for && shown(event.data.waiting_for);
      open = {
        name: TEXTS.rows.waits(shown(event.data?.reason ?? TEXTS.run.somebody)),
        state: "waiting",
        from: timeOf(event),
        to: NaN,
        details: { waitingFor },
      };
      spans.push(open);
    } else if (open && /^(step:(started|completed|failed)$|execution:)/.test(event.type)) {
      open.to = timeOf(event);
      open = null;
    }
  }
  return spans;
}

/** What is missing since the run was last begun, and that it was begun again.
 * @param {readonly ExecutionEvent[]} events */
function gaps(events) {
  /** @type {Span[]} */
  const spans = [];
  for (let n = events.length - 1; n >= 0; n--) {
    const event = events[n];
    const type = /** @type {string} */ (event.type);
    if (!GAPS.has(type)) continue;
    const [from, to] = [events[n - 1], events[n + 1]].map((one) => (one ? timeOf(one) : NaN));
    const about = { state: /** @type {State} */ ("missing"), details: {} };
    if (event.type === "stream:gap") {
      spans.push({ ...about, name: TEXTS.rows.missing(event.missed), from, to });
    } else if (event.type === "stream:reset") {
      if (event.reason !== "restarted") {
        spans.push({ ...about, name: TEXTS.rows.lost, from: NaN, to });
      }
      break;
    } else {
      const at = timeOf(event);
      spans.push({ ...about, name: TEXTS.rows.restarted, state: "restarted", from: at, to: at });
    }
  }
  return spans;
}

const GAPS = new Set(["stream:gap", "stream:reset", "execution:restarted"]);

/**
 * The bars of a row between `from` and `to`: side by side in lanes what ran at the same time, and one
 * bar for what would be nearer to each other than `least` milliseconds.
 * @param {Row} row
 * @param {{ from: number, to: number, last: number, least: number }} view `last`: how far open ones go
 */
export function barsOf({ spans }, { from, to, last, least }) {
  /** @type {Bar[]} */
  const bars = [];
  /** The last bar of each lane.
   * @type {Bar[]} */
  const lanes = [];
  for (const span of spans) {
    const [begin, end] = extent(span, from, last);
    if (end < from || begin > to) continue;
    const free = lanes.findIndex((bar) => bar.to <= begin);
    const lane = free === -1 ? Math.min(lanes.length, MOST_LANES - 1) : free;
    const before = lanes[lane];
    if (before && begin < before.to + least && canJoin(before, span.state, least)) {
      before.to = Math.max(before.to, end);
      if (span.state !== "success") before.state = span.state;
    } else {
      lanes[lane] = { state: span.state, from: begin, to: end, lane };
      bars.push(lanes[lane]);
    }
  }
  return { bars, lanes: Math.max(1, lanes.length) };
}

/** A failure among many successes is seen: it is not joined to a bar that is long already.
 * @param {Bar} bar
 * @param {State} state
 * @param {number} least */
const canJoin = (bar, state, least) => bar.state === state || bar.to - bar.from < least;

/** From where to where a bar goes. What is not known is no bar, but a mark at what is.
 * @param {Span} span
 * @param {number} from
 * @param {number} last */
export function extent(span, from, last) {
  const begin = span.from || (!isOpen(span) && span.to) || from;
  return [begin, Math.max(begin, span.to || (isOpen(span) ? last : begin))];
}
