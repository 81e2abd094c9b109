// What is said of the chosen run beside its steps: its name, its figures, what it waits for, what went
// wrong, and where the result is.

import { describeArrival } from "./arrival.js";
import { byId, clock, element, lasted, moment, shown, size, write } from "./dom.js";
import { known, named } from "./list.js";
import { number } from "./language.js";
import { TEXTS } from "./texts.js";

/** @import { ExecutionPaused, Run } from "/api/v1/sse/client/executions.js" */

/** @param {Run} run */
const isOver = (run) => !["pending", "running", "paused", "unknown"].includes(run.status);

/**
 * @param {Run} run
 * @param {number} bytes
 * @param {number} now until when this page knows the run, in milliseconds since 1970
 * @param {string} nothing what is said of a run of which there is no event
 */
export function drawOutcome(run, bytes, now, nothing) {
  const workflow = known(run.id)?.workflow_id;
  write(byId("chosen-title"), workflow || run.id);
  write(byId("chosen-id"), run.id);
  byId("chosen-id").hidden = !workflow;
  write(byId("status"), named(run.status));
  byId("status").className = run.status;
  write(byId("steps-done"), number(run.steps_completed));
  const count = run.events.length;
  write(byId("events"), count ? `${number(count)} · ${size(bytes)}` : "0");
  byId("outcome").replaceChildren(...outcome(run, nothing));
  drawTimes(run, now);
}

/** What changes between events too.
 * @param {Run} run
 * @param {number} now as in `drawOutcome` */
export function drawTimes(run, now) {
  const began = moment(run.started_at);
  write(byId("lasted-name"), isOver(run) ? TEXTS.run.took : TEXTS.run.runningFor);
  const took = isOver(run) ? run.duration_ms : now - began;
  write(byId("lasted"), lasted(took) || (run.status === "pending" ? "–" : TEXTS.run.unknown));
  const { value, note, title } = describeArrival();
  write(byId("latency"), value);
  write(byId("latency-note"), note);
  byId("arrival").title = title;
}

const waiting = (/** @type {string} */ text) => element("span", "waiting", `${text} `);

/** @param {Run} run
 * @param {string} nothing */
function outcome(run, nothing) {
  const parts = [];
  if (run.status === "pending" && nothing && !known(run.id)) parts.push(nothing);
  if (run.status === "ended") parts.push(waiting(TEXTS.run.ended));
  if (run.status === "unknown") parts.push(waiting(TEXTS.run.lost));
  if (run.complete === false) parts.push(waiting(TEXTS.run.part(run.events_missing ?? 0)));
  if (run.status === "paused") parts.push(waiting(waitsFor(run)));
  if (run.error_message) parts.push(element("span", "problem", shown(run.error_message)));
  if (run.generated_document_id) parts.push(result(run));
  return parts;
}

/** @param {Run} run */
function waitsFor(run) {
  const paused = run.events.findLast((event) => event.type === "execution:paused");
  const { data, timestamp } = /** @type {Partial<ExecutionPaused>} */ (paused);
  const since = clock(moment(timestamp));
  return TEXTS.run.waits(shown(data?.reason ?? TEXTS.run.somebody), since);
}

/** @param {Run} run */
function result(run) {
  const urls = run.execution_logs.map(
    ({ output }) => /** @type {{ file_url?: unknown } | null} */ (output)?.file_url,
  );
  const url = urls.findLast(isWeb);
  const text = TEXTS.run.result(shown(run.generated_document_id));
  if (url === undefined) return text;
  const link = element("a", "", text);
  link.href = url;
  link.rel = "noopener noreferrer";
  link.target = "_blank";
  return link;
}

/** A link that a producer has sent must lead to the web.
 * @param {unknown} url
 * @returns {url is string} */
const isWeb = (url) => typeof url === "string" && /^https?:\/\//i.test(url);
