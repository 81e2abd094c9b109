// One execution on the page: its status, its connection and its steps. Whatever an event or the
// list holds enters the page as text, never as HTML.

const MOST_STEPS = 12;
// Longer than the gateway's heartbeat: a stream that is silent for this long is worth a word.
const SILENCE_MS = 20_000;

export function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Milliseconds since 1970. A time without a zone, as today's workers write it, is UTC.
export function time(text) {
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`;
  return Date.parse(zoned);
}

export function seconds(milliseconds) {
  return `${Math.max(0, milliseconds / 1000).toFixed(1)} s`;
}

export class Card {
  stream = null;
  status = "";
  #steps = new Map();

  constructor(id) {
    this.id = id;
    this.box = element("article", "");
    this.box.dataset.execution = id;
    this.statusLine = element("strong", "", "");
    this.connection = element("span", "", "");
    this.list = element("ol", "");
    const lines = element("p", "");
    lines.append(this.statusLine, " ", this.connection);
    this.box.append(element("h3", "", id), lines, this.list);
  }

  get isOver() {
    return /^(completed|failed|canceled|cancelled)$/.test(this.status);
  }

  // What the list knows of the execution; a stream that has just opened has missed some of it.
  update(listed) {
    // The list may be older than the event that has just ended it, and knows no reasons.
    if (!this.isOver && listed.status !== this.status) this.#show(listed.status);
    for (const step of listed.steps) this.#merge(step, step.started_at);
    this.#render();
  }

  // One event of the stream.
  seen(type, envelope) {
    const data = Object(envelope.data);
    const [of, what] = type.split(":");
    if (of === "execution") {
      const reason = what === "paused" && data.reason ? `, waits for ${data.reason}` : "";
      this.#show(what, reason);
    } else {
      const status = { started: "running", completed: "success", failed: "error" }[what];
      this.#show("running");
      this.#merge({ ...data, status }, data.started_at ?? envelope.timestamp);
    }
    this.#render();
  }

  // Says how the events arrive; `without` if they do not come over a stream.
  showConnection(without) {
    const silence = Date.now() - (this.stream?.heardAt ?? 0);
    let text = this.stream?.state ?? without;
    this.connection.className = text;
    if (text === "live" && silence > SILENCE_MS) text = `live, silent for ${seconds(silence)}`;
    this.connection.textContent = this.isOver ? "" : text;
  }

  // A running step's time grows without any event.
  tick() {
    if (!this.isOver) this.#render();
  }

  #show(status, more = "") {
    this.status = status;
    this.statusLine.className = status;
    this.statusLine.textContent = status + more;
  }

  #merge(step, startedAt) {
    const id = String(step.node_id);
    const known = this.#steps.get(id);
    // Here too the list may be the older one.
    if (known && known.status !== "running" && step.status === "running") return;
    this.#steps.set(id, { ...step, at: time(startedAt) || Date.now() });
    const inOrder = [...this.#steps].sort(([, a], [, b]) => a.at - b.at);
    // Of an execution that never ends only the newest steps are kept.
    this.#steps = new Map(inOrder.slice(-MOST_STEPS));
  }

  #render() {
    this.list.replaceChildren(...[...this.#steps.values()].map(line));
  }
}

function line(step) {
  const item = element("li", "");
  item.append(
    element("span", "", step.node_type ?? "step"),
    element("span", step.status, step.status),
    element("span", "faint", took(step)),
  );
  if (step.error) item.append(element("span", "trouble", step.error));
  return item;
}

function took(step) {
  if (step.status === "running") return seconds(Date.now() - step.at);
  if (Number.isFinite(step.duration_ms)) return seconds(step.duration_ms);
  const until = time(step.completed_at);
  return until ? seconds(until - step.at) : "";
}
