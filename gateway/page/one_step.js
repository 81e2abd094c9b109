// Which events are about one step, and which attempt of its node it is.

import { moment, shown } from "./dom.js";

/** @import { ExecutionEvent, StepLog } from "/api/v1/sse/client/executions.js" */
/** @import { Row, Span } from "./rows.js" */
/** What most events have; a producer may have put any value there, or none.
 * @typedef {{ type: string, data?: Record<string, unknown> | null, timestamp?: unknown }} Envelope */

const ENDS = /^step:(completed|failed)$/;

/** As the client reads names and ids.
 * @param {unknown} value */
const label = (value) =>
  typeof value === "string" ? value : Number.isInteger(value) ? String(value) : null;

/**
 * Whether `event` is about a step of this row: of its node, and of the time of this attempt.
 * @param {Row} row
 * @param {ExecutionEvent} event
 */
export function isAbout({ name, spans }, event) {
  const { data } = /** @type {Envelope} */ (event);
  if (!data) return false;
  if (spans.length === 1) return !!spans[0].step && isOf(spans[0].step, event);
  const node = label(data.node_id);
  return (
    shown(data.node_type ?? data.node_id) === name ||
    (node !== null && spans.some(({ step }) => step?.node_id === node))
  );
}

/** @param {StepLog} step
 * @param {ExecutionEvent} event */
function isOf(step, event) {
  const { type, data, timestamp } = /** @type {Envelope} */ (event);
  if (!data || !isOfNode(step, data)) return false;
  const isEnd = ENDS.test(type);
  if (isEnd && step.status === "running") return false;
  const [from, to] = [moment(step.started_at), moment(step.completed_at)];
  const own = (isEnd ? data.completed_at : type === "step:started" && data.started_at) || null;
  if (own !== null) return Object.is(moment(own), isEnd ? to : from);
  const at = moment(timestamp);
  return !(at < from || at > to);
}

/** @param {StepLog} step
 * @param {Record<string, unknown>} data */
function isOfNode({ node_id: node, node_type: name, position }, data) {
  if (label(data.node_id) !== node) return false;
  if (node === null && label(data.node_type) !== name) return false;
  return position === null || (data.position ?? position) === position;
}

/**
 * Set of each of these steps which attempt it is, where it is not the first. The events say it. Where
 * they do not, each start of a node after its failure is one more.
 * @param {Span[]} spans in the order of their steps
 * @param {readonly ExecutionEvent[]} events
 */
export function countAttempts(spans, events) {
  const { hasNumbers, numbers } = numbersIn(events);
  if (hasNumbers && numbers.size === 0) return;
  if (!hasNumbers) return countStarts(spans);
  for (const span of spans) {
    const { node_id: node, position } = /** @type {StepLog} */ (span.step);
    const at = (/** @type {number} */ time) => numbers.get(`${node} ${position} ${time}`);
    setAttempt(span, at(span.from) ?? at(span.to) ?? 1);
  }
}

/** @param {Span[]} spans */
function countStarts(spans) {
  /** The last attempt of each node that has failed.
   * @type {Map<string, Span>} */
  const failed = new Map();
  for (const span of spans) {
    const { node_id: node, position } = /** @type {StepLog} */ (span.step);
    if (node === null) continue;
    const before = failed.get(node);
    const isNext = before?.step?.position === position && before.to <= span.from;
    setAttempt(span, isNext ? (before.attempt ?? 1) + 1 : 1);
    if (span.state === "error") failed.set(node, span);
    else if (before) failed.delete(node);
  }
}

/** @param {Span} span
 * @param {number} number */
function setAttempt(span, number) {
  if (number < 2) return;
  span.attempt = number;
  span.details.attempt = number;
}

/** The numbers above 1, by node, position and the time when the step began or ended.
 * @param {readonly ExecutionEvent[]} events */
function numbersIn(events) {
  /** @type {Map<string, number>} */
  const numbers = new Map();
  let hasNumbers = false;
  for (const event of events) {
    const { data, timestamp } = /** @type {Envelope} */ (event);
    // Most have none, and this is done for each frame.
    if (!data?.attempt) continue;
    const number = Number(label(data.attempt) || NaN);
    if (Number.isNaN(number)) continue;
    hasNumbers = true;
    if (number < 2) continue;
    const at = [data.started_at, data.completed_at].filter((one) => one ?? null);
    for (const one of at.length ? at : [timestamp]) {
      const position = Number.isFinite(data.position) ? data.position : null;
      numbers.set(`${label(data.node_id)} ${position} ${moment(one)}`, number);
    }
  }
  return { hasNumbers, numbers };
}
