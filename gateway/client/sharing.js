// Tabs of one origin share one stream for each execution and identity: the leader's messages go over a
// BroadcastChannel to its followers. Else the seventh tab over HTTP/1.1 would wait for a connection, as
// would every other request to the gateway. Who leads is found in election.js.
//
// Each tab keeps its own cursor. A follower takes an event only if it is the next one after its cursor,
// and requests what it lacks from the gateway, with its own token: at first too, so that each token is
// checked. It does not matter what a leader has sent, or whether there are two of them.

import { claimsOf } from "./credentials.js";
import { Election } from "./election.js";
import { Refused, StreamError } from "./errors.js";
import { isAtOrAfter, parseId } from "./ids.js";
import { limited, TOO_MANY } from "./slots.js";
import { byEventSource, byFetch, canStream } from "./streams.js";

/** @import { Page, Post } from "./election.js" */
/** @import { EventId } from "./ids.js" */
/** @import { Message } from "./sse.js" */
/** @import { Options } from "./index.js" */
/** @import { OpenStream, StreamRequest } from "./streams.js" */

const HEARTBEATS_MISSED = 2;
// As long before as the gateway says it to the leader of its own token.
const EXPIRING_MS = 60_000;
// A tab that is passed on the way to another one does not take the lead.
const VISIBLE_MS = 1_000;
const ABOUT_TOKEN = /"(token_expired|revoked)"/;
// Of the leader alone; and what has no place in the history, whatever its id.
const OWN = ["connected", "stream:expiring", "stream:gap", "stream:reset"];
const PLAIN = ["heartbeat", "stream:closing"];

/**
 * The way to read a stream that these options ask for: the tabs that follow the same read one.
 * @param {Options & { page?: Page }} options `page`: for tests
 * @returns {OpenStream}
 */
export function sharing({ transport, share = true, shareKey, page = globalThis }) {
  const isFetch = transport ? transport === "fetch" : canStream();
  const open = isFetch ? byFetch : byEventSource;
  // Outside a page, as in Node, nobody is short of connections.
  if (!share || !page.document) return open;
  return async function* shared(url, request) {
    const { who, expiresAt } = identify(request.headers, shareKey);
    if (!canBroadcast(page)) {
      request.alone = "this browser gives it no BroadcastChannel";
      return yield* open(url, request);
    }
    if (!who) request.alone = "the token has no readable sub: give a shareKey";
    const organization = request.headers["X-Organization-ID"];
    // An EventSource delivers no other types.
    const types = isFetch ? null : request.types;
    const name = JSON.stringify(["sse-gateway", url, organization, types, who ?? Math.random()]);
    const one = limited(open, page, name);
    // A token that has expired is refused to its own tab.
    if (request.alone || expiresAt <= Date.now()) return yield* one(url, request);
    yield* new Share({ open: one, url, request, name, page, expiresAt }).read();
  };
}

/** Firefox refuses it to pages whose cookies are blocked.
 * @param {Page} page */
export function canBroadcast(page) {
  try {
    new page.BroadcastChannel("").close();
    return true;
  } catch {
    return false;
  }
}

/** Whose stream it is. The claims need no digest: only pages of this origin see the channel's name, and
 * they can read the token.
 * @param {Record<string, string>} headers
 * @param {string} [shareKey] */
function identify({ Authorization: authorization = "" }, shareKey) {
  const { iss, sub, exp, executions } = claimsOf(authorization);
  const who = shareKey ?? (sub && typeof sub === "string" ? [iss, sub, executions] : null);
  return { who, expiresAt: typeof exp === "number" ? exp * 1000 : Infinity };
}

class Share {
  #about;
  #request;
  #over = new AbortController();
  #election;
  #heartbeatMs;
  /** This tab has been told that it is connected. */
  #isConnected = false;
  #isExpiring = false;
  /** When the leader's stream was last heard. */
  #heardAt = 0;
  /** Epochs before the cursor's.
   * @type {Set<string>} */
  #passed = new Set();

  /** @param {{ open: OpenStream, url: string, request: StreamRequest, name: string, page: Page,
   *   expiresAt: number }} about */
  constructor(about) {
    this.#about = about;
    this.#request = about.request;
    this.#heartbeatMs = about.request.timing.heartbeatMs;
    const over = this.#over;
    const { signal } = about.request;
    if (signal.aborted) over.abort();
    signal.addEventListener("abort", () => over.abort(), { signal: over.signal });
    this.#election = new Election(about.name, about.page, over.signal);
  }

  /** The messages of this tab's own stream or of the leader's. */
  async *read() {
    const { signal } = this.#request;
    const election = this.#election;
    try {
      while (!signal.aborted) {
        await election.elect(signal);
        if (yield* election.lead ? this.#lead(election.lead.signal) : this.#follow()) return;
      }
      throw signal.reason;
    } finally {
      this.#over.abort();
    }
  }

  /** Until the stream has ended, then true; or until this tab leads no more.
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<Message[] | null, boolean>} */
  async *#lead(signal) {
    const { open, url } = this.#about;
    const election = this.#election;
    election.state = { connected: null, position: this.#request.lastEventId };
    let isOwn = false;
    try {
      for await (const messages of open(url, { ...this.#request, signal })) {
        isOwn = this.#tell(messages) || isOwn;
        yield messages;
      }
      if (!signal.aborted && !isOwn) election.post("share", { end: {} });
      return !signal.aborted;
    } catch (error) {
      if (signal.aborted) return false;
      const { status, code, message, retryAfterMs } = /** @type {Refused} */ (error);
      // Any other refusal is about this tab alone: the next leader tries with its own token.
      const isForAll = code !== TOO_MANY && (!status || status === 429 || status >= 500);
      if (isForAll) election.post("share", { end: { status, code, message, retryAfterMs } });
      throw error;
    }
  }

  /** Tell the followers; true if the stream ends for a reason of this tab's own.
   * @param {Message[] | null} messages */
  #tell(messages) {
    if (messages === null) return true;
    const { state } = this.#election;
    const isOwnEnd = (/** @type {Message} */ { event, data }) =>
      event === "stream:closing" && ABOUT_TOKEN.test(data);
    const told = [];
    for (const message of messages) {
      // An EventSource repeats the id for what has none.
      const id = message.id === state.position ? undefined : message.id;
      if (!isOwnEnd(message)) told.push({ ...message, id });
      if (message.event === "connected") {
        state.connected = message;
        this.#isConnected = true;
      } else if (message.event === "stream:reset") state.position = null;
      else if (parseId(id)) state.position = id;
    }
    this.#election.post("share", { messages: told });
    return messages.some(isOwnEnd);
  }

  /** Until the leader's stream has ended, then true; or until there is no such leader.
   * @returns {AsyncGenerator<Message[] | null, boolean>} */
  async *#follow() {
    const election = this.#election;
    let claimAt = Infinity;
    this.#heardAt = Date.now();
    while (election.follows || election.hasPosts) {
      const silentAt = this.#heardAt + HEARTBEATS_MISSED * this.#heartbeatMs;
      const posts = await election.posts(Math.min(silentAt, this.#dueAt, claimAt) - Date.now());
      if (posts.length > 0 && (yield* this.#receive(posts))) return true;
      const now = Date.now();
      if (this.#dueAt <= now && (yield* this.#expire(now))) return true;
      claimAt = election.shouldLead ? Math.min(claimAt, now + VISIBLE_MS) : Infinity;
      if (claimAt <= now) election.claim();
      else if (silentAt <= now && posts.length === 0) election.lost();
    }
    return false;
  }

  /** When there is something to say of this tab's token. */
  get #dueAt() {
    const { expiresAt } = this.#about;
    return this.#isExpiring || !this.#isConnected ? expiresAt : expiresAt - EXPIRING_MS;
  }

  /** What the gateway says of a token on its own stream. True if it has expired.
   * @param {number} now
   * @returns {AsyncGenerator<Message[], boolean>} */
  async *#expire(now) {
    const isOver = this.#about.expiresAt <= now;
    this.#isExpiring = true;
    if (isOver) yield [{ event: "stream:closing", data: '{"reason":"token_expired"}' }];
    else yield [{ event: "stream:expiring", data: "{}" }];
    return isOver;
  }

  /** True if the leader's stream has ended, or this tab's own one.
   * @param {Post[]} posts
   * @returns {AsyncGenerator<Message[] | null, boolean>} */
  async *#receive(posts) {
    const { connected, position } = posts[posts.length - 1];
    if (posts.some(({ messages }) => messages)) this.#heardAt = Date.now();
    try {
      const to = parseId(position);
      if (this.#isConnected) {
        const { messages, isBehind } = this.#next(posts, to);
        if (messages.length > 0) yield messages;
        if (isBehind) yield await this.#catchUp(to);
      } else if (connected) {
        await this.#catchUp(to);
        yield [this.#connect(connected)];
      }
    } catch (error) {
      return yield* this.#alone(/** @type {Error} */ (error));
    }
    const end = posts.find((post) => post.end)?.end;
    if (end?.message) throw errorOf(end);
    return end !== undefined;
  }

  /** What of the leader's messages comes next here, and whether something before it is missing.
   * @param {Post[]} posts
   * @param {EventId | null} to where the leader is */
  #next(posts, to) {
    let cursor = parseId(this.#request.lastEventId);
    let isBehind = false;
    /** @type {Message[]} */
    const messages = [];
    for (const message of posts.flatMap((post) => post.messages ?? [])) {
      const id = PLAIN.includes(message.event) ? null : parseId(message.id);
      if (OWN.includes(message.event)) {
        // What a gap or a reset is for this tab depends on its own cursor.
        isBehind ||= message.event === "stream:gap" || message.event === "stream:reset";
      } else if (id === null || isNext(cursor, id)) {
        messages.push(message);
        cursor = id ?? cursor;
      } else isBehind ||= !this.#isPast(cursor, id);
    }
    return { messages, isBehind: isBehind || (to !== null && !this.#isPast(cursor, to)) };
  }

  /** @param {EventId | null} cursor
   * @param {EventId} id */
  #isPast(cursor, id) {
    return isAtOrAfter(cursor, id) || this.#passed.has(id.epoch);
  }

  /** Request what this tab lacks. No answer is older than its question: so what is not after the cursor
   * then comes before it.
   * @param {EventId | null} to */
  async #catchUp(to) {
    await this.#request.catchUp();
    const cursor = parseId(this.#request.lastEventId);
    if (cursor && to && cursor.epoch !== to.epoch) this.#passed.add(to.epoch);
    return [];
  }

  /** The leader's first message, for a tab that has caught up.
   * @param {Message} message */
  #connect(message) {
    const { last_event_id: _, status: __, ...data } = JSON.parse(message.data);
    if (data.heartbeat_seconds > 0) this.#heartbeatMs = data.heartbeat_seconds * 1000;
    this.#isConnected = true;
    return { ...message, data: JSON.stringify(data) };
  }

  /** This tab's own stream, since it cannot follow: that one shows why.
   * @param {Error} error
   * @returns {AsyncGenerator<Message[] | null, boolean>} */
  async *#alone(error) {
    const { open, url } = this.#about;
    this.#request.alone = `what it lacks cannot be requested (${error.message})`;
    this.#over.abort();
    yield* open(url, this.#request);
    return true;
  }
}

/** @param {EventId | null} cursor
 * @param {EventId} id */
const isNext = (cursor, id) =>
  cursor === null ? id.seq === 1 : cursor.epoch === id.epoch && cursor.seq + 1 === id.seq;

/** @param {NonNullable<Post["end"]>} end */
const errorOf = ({ status, code = "network", message = "", retryAfterMs }) =>
  status ? new Refused(status, code, message, retryAfterMs) : new StreamError(code, message);
