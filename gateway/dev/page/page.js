// The page of `sse-gateway dev`: lists the executions, and follows the running ones over the
// gateway's own streams. Text only ever enters the page as text, never as HTML.

// A browser opens six HTTP/1.1 connections per host: two stay free for everything else.
const MOST_STREAMS = 4;
const LIST_INTERVAL_MS = 1000;

const running = document.getElementById("running");
const ended = document.getElementById("ended");
const state = document.getElementById("state");
const watched = new Map();

let session = null;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

class Card {
  constructor(id) {
    this.id = id;
    this.steps = new Map();
    this.box = element("article");
    this.box.dataset.execution = id;
    this.status = element("p", "faint", "connecting");
    this.list = element("ol");
    this.box.append(element("h3", "", id), this.status, this.list);
    running.append(this.box);
    const query = new URLSearchParams({
      Authorization: `Bearer ${session.token}`,
      organization_id: session.organization_id,
    });
    const path = `/api/v1/sse/executions/${encodeURIComponent(id)}/stream`;
    this.source = new EventSource(`${path}?${query}`);
    this.source.addEventListener("connected", () => this.show("live", "success"));
    this.source.addEventListener("error", () => this.show("reconnecting", "waiting"));
    for (const type of ["step:started", "step:completed", "step:failed"]) {
      this.source.addEventListener(type, (event) => this.step(JSON.parse(event.data)));
    }
    this.source.addEventListener("execution:paused", (event) => {
      this.show(`waiting for ${JSON.parse(event.data).data.reason}`, "waiting");
    });
    for (const type of ["execution:completed", "execution:failed"]) {
      this.source.addEventListener(type, () => this.close());
    }
  }

  show(text, className) {
    this.status.textContent = text;
    this.status.className = className;
    showState();
  }

  step({ type, data }) {
    const key = String(data.node_id);
    let line = this.steps.get(key);
    if (!line) {
      line = element("li");
      this.steps.set(key, line);
      this.list.append(line);
    }
    const status = { "step:started": "running", "step:completed": "success" }[type] ?? "error";
    const took = data.duration_ms === undefined ? "" : ` in ${data.duration_ms} ms`;
    const trouble = data.error ? `: ${data.error}` : "";
    line.className = status;
    line.textContent = `${data.node_type} ${status}${took}${trouble}`;
    line.scrollIntoView({ block: "nearest" });
    if (type === "step:started") this.show("live", "success");
  }

  close() {
    this.source.close();
    this.box.remove();
    watched.delete(this.id);
    showState();
  }
}

function showState() {
  const sources = [...watched.values()].map((card) => card.source.readyState);
  const live = sources.length > 0 && sources.every((ready) => ready === EventSource.OPEN);
  const text = live ? "live" : sources.length ? "reconnecting" : "waiting for executions";
  state.textContent = text;
  state.className = text;
}

function follow(list) {
  const active = list.filter((one) => one.status === "running" || one.status === "paused");
  const ids = new Set(active.map((one) => one.id));
  for (const card of [...watched.values()]) {
    const lost = card.source.readyState === EventSource.CLOSED;
    if (!ids.has(card.id) || lost) card.close();
  }
  for (const { id } of active) {
    if (!watched.has(id) && watched.size < MOST_STREAMS) watched.set(id, new Card(id));
  }
}

function showEnded(list) {
  const over = list.filter((one) => one.status === "completed" || one.status === "failed");
  ended.replaceChildren(
    ...over.map((one) => {
      const line = element("li");
      line.append(element("span", "", one.id), element("strong", one.status, one.status));
      return line;
    }),
  );
}

async function ask(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  try {
    // A gateway that was started anew has another secret, so its token is asked for again.
    session ??= await ask("/dev/session");
    const list = await ask("/dev/executions");
    follow(list);
    showEnded(list);
  } catch {
    session = null;
    state.textContent = "reconnecting";
    state.className = "reconnecting";
  }
}

document.addEventListener("visibilitychange", () => {
  // A hidden tab gives its connections to the one that is looked at.
  if (document.hidden) for (const card of [...watched.values()]) card.close();
  else refresh();
});

await refresh();
setInterval(() => document.hidden || refresh(), LIST_INTERVAL_MS);
