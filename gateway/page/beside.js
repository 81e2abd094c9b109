// Several runs side by side: a card for each, all on one stream.

import { subscribeToExecutions } from "/api/v1/sse/client/executions.js";
import { MOST_RUNS } from "./address.js";
import { byId, element, shown, write } from "./dom.js";
import { fillRow, rowFor } from "./list_rows.js";
import { find, isHere } from "./runs.js";
import { problemOf, TEXTS } from "./texts.js";
import { drawRows, extentOf, knownOf } from "./timeline.js";

/** @import { FollowedExecution, SetSubscription } from "/api/v1/sse/client/executions.js" */
/** @import { Row } from "./rows.js" */
/** @import { Session } from "./session.js" */

// Of each run, the last ones.
const ROWS = 8;
const TRACK = 120;

/** @type {string[]} */
let ids = [];
/** By id.
 * @type {Map<string, HTMLLIElement>} */
let cards = new Map();
/** @type {SetSubscription | null} */
let set = null;
let knownUntil = 0;

/** How they arrive. */
export const besideState = () => set;

/** Their ids, in the order in which the user chose them. */
export const besideIds = () => ids;

/** Add the run, or remove it.
 * @param {string} id */
export const toggled = (id) =>
  ids.includes(id) ? ids.filter((one) => one !== id) : [...ids, id].slice(-MOST_RUNS);

/**
 * Show these runs, and no others.
 * @param {Session} session
 * @param {string[]} wanted
 */
export function showBeside({ getToken, organizationId }, wanted) {
  if (String(wanted) === String(ids)) return;
  ids = wanted;
  set?.close();
  set = null;
  cards = new Map(ids.map((id) => [id, cards.get(id) ?? cardFor(id)]));
  byId("beside").replaceChildren(...cards.values());
  byId("beside").hidden = ids.length === 0;
  if (ids.length === 0) return;
  knownUntil = Date.now();
  const own = subscribeToExecutions({ getToken, organizationId, executionIds: ids });
  set = own;
  own.subscribe(() => own === set && drawBeside());
}

/** @param {string} id */
function cardFor(id) {
  const card = rowFor(id);
  card.append(element("p"), element("ol"));
  return card;
}

/** Draw the cards again; all on one scale, each from its own start. */
export function drawBeside() {
  if (!set) return;
  const { executions, connection } = set;
  if (isHere(connection)) knownUntil = Date.now();
  byId("beside").classList.toggle("stale", !isHere(connection));
  const all = executions.map((one) => {
    const known = knownOf(one.run, one.run.events);
    return { one, rows: known.rows, whole: extentOf(known, knownUntil) };
  });
  const span = Math.max(...all.map(({ whole }) => whole.to - whole.from));
  for (const { one, rows, whole } of all) {
    const card = cards.get(one.execution_id);
    // Else it would be empty until the stream of the new set has brought its events again.
    if (!card || (one.run.events.length === 0 && !one.error && card.dataset.drawn)) continue;
    card.dataset.drawn = "true";
    const { from: begin, last } = whole;
    const listed = find(one.run.id);
    // The filter may leave it out later.
    const workflow = (card.dataset.workflow ||= listed?.workflow_id ?? "");
    fillRow(card, { ...listed, ...one.run, workflow_id: workflow, events: undefined });
    write(card.children[2], lastOf(one, rows));
    card.children[2].classList.toggle("problem", one.run.status === "failed");
    const view = { begin, from: begin, to: begin + span, last, isPart: false };
    drawRows(/** @type {HTMLElement} */ (card.children[3]), rows.slice(-ROWS), view, TRACK);
  }
}

/** What went wrong, or else its last step; and what is missing.
 * @param {FollowedExecution} one
 * @param {Row[]} rows */
function lastOf({ run, error }, rows) {
  const refusal = error ?? set?.error;
  const last = rows.at(-1);
  const state = last && last.state !== "waiting" && TEXTS.states[last.state];
  const step = [last?.name, state, last?.problem].filter(Boolean).join(", ");
  return [
    refusal && problemOf(refusal),
    run.error_message ? shown(run.error_message) : step,
    run.complete === false && TEXTS.run.part(run.events_missing ?? 0),
  ]
    .filter(Boolean)
    .join(" · ");
}
