// Which of the tabs that listen on one channel holds the stream for all of them: the leader.
//
// A tab that wants the lead says so with a higher term than any that it knows, and the highest term
// wins: two that claim it at once both lead until each has heard the other. Web Locks, which only
// secure contexts have, tell when a leader's tab has crashed; without them its silence does.

/** What a leader says of itself with each post: `connected` and `position` are in sharing.js.
 * @typedef {{ connected?: Message | null, position?: string | null }} State */
/** @typedef {State & { term: number, from: string, kind: "hello" | "lead" | "bye" | "share",
 *   hidden?: boolean, messages?: Message[], end?: Partial<Refused> }} Post */
/** The page: its window, or what a test gives instead.
 * @typedef {Pick<typeof globalThis, "addEventListener" | "BroadcastChannel">
 *   & { document: { hidden: boolean }, navigator?: Navigator, performance?: Performance }} Page */
/** @import { Refused } from "./errors.js" */
/** @import { Message } from "./sse.js" */

/** How long another tab takes to answer, in milliseconds. */
export const ANSWER_MS = 60;
// A hidden tab lets the visible ones claim the lead first.
const HIDDEN_MS = 200;

export class Election {
  /** Of the leader: aborted when it does not lead any more.
   * @type {AbortController | null} */
  lead = null;
  /** @type {State} */
  state = {};
  #id = Math.random().toString(36).slice(2);
  #name;
  #page;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** The lock by which others see that this tab lives, and the wait for the leader's. */
  #alive = new AbortController();
  #watch = new AbortController();
  /** The last post of the highest term.
   * @type {Post} */
  #top = { term: 0, from: "", kind: "bye" };
  #isVacant = true;
  /** @type {Post[]} */
  #inbox = [];
  #wake = () => {};

  /**
   * @param {string} name
   * @param {Page} page
   * @param {AbortSignal} signal ends it
   */
  constructor(name, page, signal) {
    this.#name = name;
    this.#page = page;
    // An open channel or lock would keep the page out of the cache for "back".
    const types = { pagehide: "leave", freeze: "leave", pageshow: "join", resume: "join" };
    for (const [type, call] of Object.entries({ ...types, visibilitychange: "seen" })) {
      // `freeze` and `resume` do not bubble from the document.
      page.addEventListener(type, () => this.#on(call), { signal, capture: true });
    }
    signal.addEventListener("abort", () => this.#leave());
    if (!signal.aborted) this.#join();
  }

  /** Another tab leads. */
  get follows() {
    return !this.lead && !this.#isVacant;
  }

  /** The leader's last posts may say why it has gone. */
  get hasPosts() {
    return this.#inbox.length > 0;
  }

  /** This tab is visible, and the leader is hidden: browsers slow it down, and stop it. */
  get shouldLead() {
    return this.follows && this.#top.hidden && !this.#isHidden;
  }

  /** Wait until this tab leads, or another one; or `signal` is aborted.
   * @param {AbortSignal} signal */
  async elect(signal) {
    while (this.#isVacant && !signal.aborted) {
      const ms = (this.#isHidden ? HIDDEN_MS : ANSWER_MS) * (1 + Math.random());
      const isAlone = this.#channel && (await this.#isAlone());
      const isLate =
        isAlone || (this.#isVacant && (await this.#sleep(this.#channel ? ms : undefined)));
      if (isLate && this.#channel && this.#isVacant) this.claim();
    }
  }

  /** The next posts of the leader; none after `ms` milliseconds of silence, or if it leads no more.
   * @param {number} ms */
  async posts(ms) {
    if (this.follows && this.#inbox.length === 0) await this.#sleep(ms);
    return this.#inbox.splice(0);
  }

  claim() {
    this.#isVacant = false;
    this.#inbox = [];
    this.#watch.abort();
    this.#top = { kind: "lead", term: this.#top.term + 1, from: this.#id };
    this.lead = new AbortController();
    this.post("lead");
  }

  /** The leader is silent, or gone. */
  lost() {
    this.#watch.abort();
    this.#isVacant = true;
    this.#wake();
  }

  /** @param {Post["kind"]} kind
   * @param {Partial<Post>} [more] */
  post(kind, more) {
    const { term } = this.#top;
    const about = { ...this.state, term, kind, from: this.#id, hidden: this.#isHidden };
    this.#channel?.postMessage({ ...about, ...more });
  }

  get #isHidden() {
    return this.#page.document.hidden;
  }

  /** @param {string} call */
  #on(call) {
    if (call === "leave") this.#leave();
    else if (call === "join") this.#join();
    else if (this.lead) this.post("lead");
    else this.#wake();
  }

  #join() {
    if (this.#channel) return;
    this.#channel = new this.#page.BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#received(data);
    const { signal } = (this.#alive = new AbortController());
    const gone = () => new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.#lock({ id: this.#id, mode: "exclusive", signal }, gone);
    this.post("hello");
    this.#wake();
  }

  #leave() {
    if (this.lead) this.post("bye");
    this.#depose();
    this.#channel?.close();
    this.#channel = null;
    this.#alive.abort();
    this.lost();
  }

  #depose() {
    this.lead?.abort();
    this.lead = null;
  }

  /** @param {Post} post */
  #received(post) {
    const { term, from } = this.#top;
    const order = post.term - term || Number(post.from > from) - Number(post.from < from);
    if (post.kind === "hello" || (order < 0 && post.kind !== "bye")) {
      if (this.lead) this.post("lead");
    } else if (post.kind === "bye") {
      if (order === 0) this.lost();
    } else {
      this.#depose();
      if (order > 0 || this.#isVacant) this.#follow(post.from);
      this.#top = post;
      this.#inbox.push(post);
      this.#wake();
    }
  }

  /** @param {string} id */
  #follow(id) {
    this.#isVacant = false;
    this.#inbox = [];
    this.#watch.abort();
    const { signal } = (this.#watch = new AbortController());
    this.#lock({ id, mode: "shared", signal }, () => signal.aborted || this.lost());
  }

  /** @param {{ id: string, mode: LockMode, signal: AbortSignal }} lock
   * @param {() => unknown} granted */
  #lock({ id, mode, signal }, granted) {
    const options = { mode, signal };
    this.#page.navigator?.locks?.request(`${this.#name} ${id}`, options, granted).catch(() => {});
  }

  /** Whether Web Locks can tell that there is no other tab. */
  async #isAlone() {
    const own = `${this.#name} `;
    // A sandboxed frame has locks that refuse.
    const known = await this.#page.navigator?.locks?.query().catch(() => null);
    if (!known) return false;
    const names = [...(known.held ?? []), ...(known.pending ?? [])].map(({ name }) => name ?? "");
    return !names.some((name) => name.startsWith(own) && name !== own + this.#id);
  }

  /** Until `#wake`, or for `ms` milliseconds: then it resolves to true.
   * @param {number} [ms] */
  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(() => resolve(true), Math.max(0, ms));
      this.#wake = () => resolve(clearTimeout(timer));
    });
  }
}
