// The page's address: the filters, the runs side by side, and the run in focus. A link and a reload show
// the same, and the back button what was before.

/** Empty: all statuses, all workflows, no run.
 * @typedef {{ id: string, status: string, workflow: string, runs: string[] }} Place */

// As many cards as are wide enough to be read on a large screen.
export const MOST_RUNS = 4;
const ID = /^[\w.:-]{1,128}$/;

/** What the address says.
 * @returns {Place} */
export function placeInAddress() {
  const query = new URLSearchParams(location.search);
  const runs = new Set(query.getAll("run").filter((id) => ID.test(id)));
  return {
    id: idInAddress(),
    status: query.get("status") ?? "",
    workflow: query.get("workflow") ?? "",
    runs: [...runs].slice(0, MOST_RUNS),
  };
}

// After a slash, so that an element of the page (`#chosen`) is no execution.
function idInAddress() {
  try {
    return decodeURIComponent(/^#\/(.*)$/.exec(location.hash)?.[1] ?? "");
  } catch {
    // A percent sign that encodes nothing.
    return "";
  }
}

/** @param {Place} place */
export function goTo({ id, status, workflow, runs }) {
  const query = new URLSearchParams(runs.map((one) => ["run", one]));
  if (status) query.set("status", status);
  if (workflow) query.set("workflow", workflow);
  const url = new URL(location.href);
  url.search = String(query);
  url.hash = id && `/${encodeURIComponent(id)}`;
  if (url.href !== location.href) history.pushState(null, "", url);
}
