// The rows of the list. They are kept: a button that is replaced between press and release is not
// clicked.

import { MOST_RUNS } from "./address.js";
import { ageSince, byId, element, lasted, moment, write } from "./dom.js";
import { TEXTS, textOf } from "./texts.js";

/** @import { Listed } from "./runs.js" */

/** What the user does with a run, and what of it is shown.
 * @typedef {{ goTo: (id: string) => void, toggle: (id: string) => void, chosen: () => string,
 *   beside: () => string[] }} Doings */

/** By id.
 * @type {Map<string, HTMLLIElement>} */
const rows = new Map();
/** @type {Doings} */
let doings;

/** @param {Doings} with_ */
export function beginRows(with_) {
  doings = with_;
}

/**
 * Show a row for each of these runs.
 * @param {Listed[]} listed
 */
export function drawRows(listed) {
  const wanted = listed.map((one) => fillRow(rowOf(one.id), one));
  const kept = new Set(wanted);
  for (const [id, row] of rows) if (!kept.has(row)) rows.delete(id);
  const list = byId("list");
  const isSame = wanted.every((row, n) => row === list.children[n]);
  if (isSame && list.children.length === wanted.length) return;
  const focused = document.activeElement;
  list.replaceChildren(...wanted);
  if (focused instanceof HTMLElement && list.contains(focused)) focused.focus();
}

/** @param {string} id */
function rowOf(id) {
  const row = rows.get(id) ?? rowFor(id);
  rows.set(id, row);
  return row;
}

/** A row with a button that goes to the run, and a box that puts it beside others.
 * @param {string} id */
export function rowFor(id) {
  const parts = [element("span", "name"), element("small", "age")];
  const facts = element("small", "facts", element("span", "dot"), element("span"));
  const button = element("button", "", ...parts, facts, element("code"));
  button.addEventListener("click", () => doings.goTo(id));
  const box = element("input");
  box.type = "checkbox";
  box.addEventListener("change", () => doings.toggle(id));
  const label = element("label", "check", box);
  label.title = TEXTS.list.compare;
  return element("li", "", button, label);
}

/**
 * @param {HTMLLIElement} row as `rowFor` makes it
 * @param {Listed} execution
 */
export function fillRow(row, { id, status, workflow_id: workflow, ...more }) {
  const [button, label] = row.children;
  const [name, age, facts, code] = button.children;
  const began = moment(more.started_at ?? more.updated_at);
  write(name, workflow || id);
  write(age, Number.isFinite(began) ? TEXTS.list.ago(ageSince(began)) : "");
  const steps = more.steps_completed ?? null;
  const done = steps === null ? "" : TEXTS.list.steps(steps);
  facts.children[0].className = `dot ${status}`;
  write(
    facts.children[1],
    [named(status), done, lasted(more.duration_ms ?? null), watchers(more)]
      .filter(Boolean)
      .join(" · "),
  );
  write(code, workflow ? id.slice(0, 8) : "");
  button.setAttribute("aria-current", String(id === doings.chosen()));
  const box = /** @type {HTMLInputElement} */ (label.firstChild);
  const beside = doings.beside();
  box.checked = beside.includes(id);
  box.disabled = !box.checked && beside.length === MOST_RUNS;
  box.setAttribute("aria-label", `${TEXTS.list.compare} ${name.textContent} ${code.textContent}`);
  return row;
}

/** How many watch a run, as text; empty where nobody does, or nobody knows.
 * @param {Partial<Listed>} [run] */
export const watchers = (run) => (run?.watching ? TEXTS.list.watching(run.watching) : "");

/** A status as the page names it.
 * @param {string} status */
export const named = (status) => textOf(TEXTS.statuses, status);

// The arrow keys move through the list.
byId("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...byId("list").querySelectorAll("button")];
  const next = buttons[buttons.findIndex((one) => one === document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});
