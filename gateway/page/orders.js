// What the development engine does on request: start, pause, approve.

import { byId, field } from "./dom.js";
import { isSimulated, setReachable, showStarted } from "./list.js";
import { problemOf, TEXTS } from "./texts.js";

const SHOWN_MS = 8000;
/** The execution that is to pause before its next step.
 * @type {string | null} */
let pausing = null;

/**
 * Send an order to the engine. Returns its answer; null if it refused, and then the page shows why.
 * @param {string} path
 * @param {object} body
 */
export async function order(path, body) {
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const document = await response.json();
    setReachable(true, response.ok ? "" : problemOf(document));
    if (!response.ok) setTimeout(() => setReachable(true, ""), SHOWN_MS);
    return response.ok ? document : null;
  } catch {
    setReachable(false);
    return null;
  }
}

/** Let the user give orders for the execution that `chosen` names.
 * @param {() => string | undefined} chosen */
export function beginOrders(chosen) {
  byId("start").hidden = false;
  byId("start").addEventListener("submit", async (event) => {
    event.preventDefault();
    const started = await order("/dev/executions", { ending: field("ending").value });
    if (started) showStarted(started);
  });
  for (const action of ["pause", "approve"]) {
    byId(action).addEventListener("click", async () => {
      const id = chosen();
      if (!id) return;
      if (action === "pause") pausing = id;
      showOrders(id, action === "pause" ? "running" : "paused");
      const answer = await order(`/dev/executions/${encodeURIComponent(id)}/${action}`, {});
      if (!answer?.done) pausing = null;
    });
  }
}

/**
 * Show the buttons that fit an execution with this status.
 * @param {string} id
 * @param {string} status
 */
export function showOrders(id, status) {
  if (status !== "running" && pausing === id) pausing = null;
  const isPausing = pausing === id;
  byId("pause").hidden = !isSimulated(id) || status !== "running";
  byId("pause").textContent = isPausing ? TEXTS.pausing : TEXTS.pause;
  byId("pause").toggleAttribute("disabled", isPausing);
  byId("approve").hidden = !isSimulated(id) || status !== "paused";
}
