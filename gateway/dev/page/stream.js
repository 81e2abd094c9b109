// One execution's stream over a native EventSource: its events, and what state it really is in.
// It decides nothing about which streams are open: that is page.js.

const EVENTS = ["step:started", "step:completed", "step:failed", "execution:paused"];
const TERMINAL = [
  "execution:completed",
  "execution:failed",
  "execution:canceled",
  "execution:cancelled",
];

export class Stream {
  // connecting, live, reconnecting, refused (the browser has given up) or over.
  state = "connecting";
  heardAt = Date.now();

  // `changed()` is called for a new state, `seen(type, envelope)` for an event.
  constructor(id, session, { changed, seen }) {
    this.changed = changed;
    // A native EventSource sets no headers, so the token is in this request's query. It is never in
    // the address of the page, which stays in the history.
    const credentials = new URLSearchParams({
      Authorization: `Bearer ${session.token}`,
      organization_id: session.organization_id,
    });
    const path = `/api/v1/sse/executions/${encodeURIComponent(id)}/stream`;
    this.source = new EventSource(`${path}?${credentials}`);
    // Not at `open`: passing trouble is told inside a 200, and only `connected` promises events.
    this.#on("connected", () => this.#become("live"));
    this.#on("heartbeat", () => this.#become("live"));
    this.#on("stream:closing", () => this.#become("reconnecting"));
    this.source.addEventListener("error", () => {
      const closed = this.source.readyState === EventSource.CLOSED;
      this.#become(closed ? "refused" : "reconnecting");
    });
    for (const type of EVENTS) this.#on(type, (event) => seen(type, JSON.parse(event.data)));
    for (const type of TERMINAL) {
      this.#on(type, (event) => {
        // The server ends the response now; without this the browser would come back for more.
        this.close();
        seen(type, JSON.parse(event.data));
      });
    }
  }

  close() {
    this.source.close();
    this.#become("over");
  }

  #on(type, handle) {
    this.source.addEventListener(type, (event) => {
      this.heardAt = Date.now();
      handle(event);
    });
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.changed();
  }
}
