// The run as bars on a time axis: a bar a step, and one for each wait.

import { byId, element, lasted, moment } from "./dom.js";

const TICKS = 5;
const WORDS = { running: "runs", success: "done", error: "failed", waiting: "waits" };

/** Draw `run` as it is `now` (milliseconds since 1970). */
export function drawTimeline(run, now) {
  const rows = inOrder([...run.execution_logs.map(stepRow), ...waits(run)]);
  const ended = moment(run.completed_at);
  const from = Math.min(moment(run.started_at) || now, ...rows.map((row) => row.from || now));
  const to = Math.max(from + 1000, Number.isNaN(ended) ? now : ended, ...rows.map((row) => row.to || 0));
  byId("timeline").replaceChildren(...rows.map((row) => line(row, from, to, Number.isNaN(ended) ? now : ended)));
  byId("axis").replaceChildren(...ticks(to - from));
}

const inOrder = (rows) => rows.sort((one, other) => (one.from || 0) - (other.from || 0));

function stepRow(step) {
  return {
    name: step.node_type ?? step.node_id ?? "step",
    state: step.status,
    from: moment(step.started_at),
    to: moment(step.completed_at),
    duration: step.duration_ms,
    trouble: step.error,
    details: [step.node_id && `node ${step.node_id}`, step.output && JSON.stringify(step.output)],
  };
}

// From each pause to the step that ended it.
function waits(run) {
  const rows = [];
  let open = null;
  for (const event of run.events) {
    const at = Date.parse(zoned(event.timestamp));
    if (event.type === "execution:paused") {
      open = { name: `waits for ${event.data?.reason ?? "somebody"}`, state: "waiting", from: at, to: NaN };
      rows.push(open);
    } else if (open && /^(step:started|execution:)/.test(event.type)) {
      open.to = at;
      open = null;
    }
  }
  return rows;
}

// One without a zone is UTC.
const zoned = (time) => (/(Z|[+-]\d\d:?\d\d)$/.test(time) ? time : `${time}Z`);

function line(row, from, to, now) {
  const begin = row.from || from;
  const end = row.to || now;
  const took = lasted(row.duration ?? end - begin);
  const bar = element("div", `bar ${row.state}`);
  // Set by script, which the page's policy allows, unlike a style in the markup.
  bar.style.left = `${(100 * (begin - from)) / (to - from)}%`;
  bar.style.width = `${(100 * Math.max(0, end - begin)) / (to - from)}%`;
  const said = [row.name, WORDS[row.state], took, row.trouble, ...(row.details ?? [])].filter(Boolean);
  const item = element("li", "", element("span", "name", row.name), element("div", "track", bar), element("span", "lasted", took));
  item.title = said.join("\n");
  item.dataset.state = row.state;
  item.setAttribute("aria-label", said.slice(0, 4).join(", "));
  if (row.trouble) item.append(element("span", "trouble", row.trouble));
  return item;
}

function ticks(span) {
  return Array.from({ length: TICKS }, (_, n) => element("span", "", lasted((span * n) / TICKS)));
}
