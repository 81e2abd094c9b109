// Tabs of one browser, as far as their events and channels go, and a gateway with a history.

import { after } from "node:test";

import { follow } from "./follower.mjs";
import { connected, eventually, frame, happened, refuse, serve } from "./server.mjs";

/** A tab's window. `crash` silences it without a farewell. */
export class Page extends EventTarget {
  document = { hidden: false };
  #isCrashed = false;

  constructor({ navigator } = {}) {
    super();
    this.navigator = navigator;
    const isCrashed = () => this.#isCrashed;
    this.BroadcastChannel = class extends BroadcastChannel {
      postMessage(message) {
        if (!isCrashed()) super.postMessage(message);
      }
    };
  }

  crash() {
    this.#isCrashed = true;
  }

  happens(type, hidden = this.document.hidden) {
    this.document.hidden = hidden;
    this.dispatchEvent(new Event(type));
  }
}

export const token = (sub, claims = {}) => {
  const payload = JSON.stringify({ iss: "issuer", sub, exp: Date.now() / 1000 + 3600, ...claims });
  return `x.${Buffer.from(payload).toString("base64url")}.y`;
};

/** A subscription in a tab of its own. */
export function tab(gateway, options = {}) {
  const page = options.page ?? new Page();
  const getToken = () => token("ann");
  const followed = follow(gateway.baseUrl, { getToken, page, ...options });
  after(() => followed.subscription.close());
  return { page, ...followed };
}

/** A gateway whose streams and polls show what was published; `accepts(request)` may refuse. */
export async function gatewayWithHistory({ accepts = () => true, heartbeat = 15 } = {}) {
  const history = [];
  const open = new Set();
  const following = (id) => history.slice(history.findIndex((event) => event.id === id) + 1);
  const server = await serve({
    stream: (request, response) => {
      if (self.holdsBack) return undefined;
      if (!accepts(request)) return refuse(response, 401, "token_invalid");
      const missed = following(request.headers["last-event-id"]);
      const last_event_id = missed.at(-1)?.id;
      response.begin(connected({ heartbeat_seconds: heartbeat, last_event_id }));
      for (const { id, type } of missed) response.write(happened(id, type));
      open.add(response);
      const beats = setInterval(() => response.write(frame("heartbeat", {})), heartbeat * 800);
      response.on("close", () => open.delete(response) && clearInterval(beats));
    },
    poll: (request) => {
      if (!accepts(request)) return 401;
      const events = following(request.query.get("after"));
      const status = history.some(({ type }) => type === "execution:completed");
      return { status: status ? "completed" : "running", cursor: "valid", events };
    },
  });
  const self = {
    ...server,
    holdsBack: false,
    open,
    history,
    /** Record an event, and send it to the open streams. */
    publish(id, type = "step:started") {
      history.push({ id, type, data: { node_id: id }, timestamp: "2026-03-02T08:00:00Z" });
      for (const response of open) response.write(happened(id, type));
    },
    /** Send a message that is not recorded. */
    send: (event, data, fields) =>
      open.forEach((response) => response.write(frame(event, data, fields))),
  };
  return self;
}

/** Waits until each of `tabs` has seen exactly these ids. */
export const all = (tabs, expected) =>
  eventually(
    () => tabs.every(({ seen }) => seen.join() === expected.join()),
    `all have ${expected}`,
  ).catch((error) => {
    error.message += `: ${JSON.stringify(tabs.map(({ seen, statuses }) => [seen, statuses]))}`;
    throw error;
  });

export const live = (tabs) =>
  eventually(() => tabs.every(({ subscription }) => subscription.status === "live"), "all live");
