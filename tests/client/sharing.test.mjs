// One stream for all tabs that follow the same.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "./server.mjs";
import { all, gatewayWithHistory, live, Page, tab, token } from "./tabs.mjs";

/** Tabs that follow run-1, the first of them as leader. */
async function sharedBy(count, gateway, options = {}) {
  const tabs = [tab(gateway, options)];
  await live(tabs);
  while (tabs.length < count) tabs.push(tab(gateway, options));
  await live(tabs);
  assert.equal(gateway.asked.streams.length, 1);
  return tabs;
}

async function finish(gateway, tabs, id, seen) {
  gateway.publish(id, "execution:completed");
  await all(tabs, [...seen, id]);
  await Promise.all(tabs.map(({ subscription }) => subscription.finished));
  for (const { subscription } of tabs) assert.equal(subscription.status, "completed");
}

test("nine tabs have one stream, and each has every event once; one that comes later too", async () => {
  const gateway = await gatewayWithHistory();
  gateway.publish("5-1");
  const tabs = Array.from({ length: 9 }, () => tab(gateway));
  await live(tabs);
  await eventually(() => gateway.open.size === 1, "one stream");
  gateway.publish("5-2");
  await all(tabs, ["5-1", "5-2"]);
  const streams = gateway.asked.streams.length;
  tabs.push(tab(gateway));
  await all(tabs, ["5-1", "5-2"]);
  await live(tabs);
  assert.equal(gateway.asked.streams.length, streams);
  await finish(gateway, tabs, "5-3", ["5-1", "5-2"]);
  assert.equal(gateway.asked.streams.length, streams);
});

test("whatever happens to the lead tab, the others go on without a break: nothing lost, nothing doubled", async () => {
  const endings = {
    closed: ({ subscription }) => subscription.close(),
    left: ({ page }) => page.happens("pagehide", true),
    frozen: ({ page }) => page.happens("freeze", true),
    hidden: ({ page }) => page.happens("visibilitychange", true),
    crashed: ({ page }) => page.crash(),
  };
  for (const [name, end] of Object.entries(endings)) {
    // The next leader has half a heartbeat to come until the others call the stream silent.
    const gateway = await gatewayWithHistory({ heartbeat: name === "crashed" ? 1.5 : 15 });
    const [leader, ...others] = await sharedBy(4, gateway);
    gateway.publish("5-1");
    await all(others, ["5-1"]);
    end(leader);
    gateway.publish("5-2");
    await eventually(() => gateway.asked.streams.length > 1, name);
    gateway.publish("5-3");
    await finish(gateway, others, "5-4", ["5-1", "5-2", "5-3"]);
    for (const { statuses } of others) {
      assert.ok(!statuses.includes("reconnecting"), `${name}: ${statuses}`);
    }
    leader.subscription.close();
  }
});

test("a tab that comes back has what it missed, and shares again", async () => {
  for (const [away, back] of [
    ["pagehide", "pageshow"],
    ["freeze", "resume"],
  ]) {
    const gateway = await gatewayWithHistory();
    const tabs = await sharedBy(3, gateway);
    const [{ page, seen }, ...others] = tabs;
    page.happens(away, true);
    gateway.publish("5-1");
    await all(others, ["5-1"]);
    assert.deepEqual(seen, []);
    page.happens(back, false);
    await all(tabs, ["5-1"]);
    await finish(gateway, tabs, "5-2", ["5-1"]);
    assert.equal(gateway.asked.streams.length, 2);
  }
});

test("a follower takes only what follows its own cursor, and requests the rest", async () => {
  const gateway = await gatewayWithHistory();
  const tabs = await sharedBy(3, gateway);
  const event = (id) => gateway.history.push({ id, type: "step:started", data: {}, timestamp: "" });
  gateway.publish("5-1");
  await all(tabs, ["5-1"]);
  // The leader's stream has a hole; another epoch follows, and the one before comes again.
  event("5-2");
  gateway.publish("5-3");
  gateway.publish("6-1");
  const [leader, ...others] = tabs;
  await all(others, ["5-1", "5-2", "5-3", "6-1"]);
  assert.ok(!leader.seen.includes("5-2"));
  gateway.send("step:started", { id: "5-3", type: "step:started", data: {} }, "id: 5-3\n");
  gateway.publish("6-2");
  await all(others, ["5-1", "5-2", "5-3", "6-1", "6-2"]);
  // A gap and a reset are the leader's: these tabs have all.
  gateway.send("stream:gap", { from: "6-3", to: "6-4", missed: 2 });
  gateway.send("stream:reset", { reason: "history_lost" });
  await finish(gateway, others, "6-3", ["5-1", "5-2", "5-3", "6-1", "6-2"]);
});

test("a position that a follower has not reached shows what it lacks, even if no event follows", async () => {
  const gateway = await gatewayWithHistory();
  const [{ page, seen }, other] = await sharedBy(2, gateway);
  const post = BroadcastChannel.prototype.postMessage;
  // The leader's channel loses one message.
  page.BroadcastChannel = null;
  let isLost = false;
  BroadcastChannel.prototype.postMessage = function (message) {
    isLost ||= message.messages?.some(({ id }) => id === "5-1") ?? false;
    if (!isLost) post.call(this, message);
  };
  gateway.publish("5-1");
  await eventually(() => seen.length === 1 && isLost, "lost");
  BroadcastChannel.prototype.postMessage = post;
  gateway.send("heartbeat", {});
  await all([other], ["5-1"]);
});

test("two users, two organizations, or two claims never share; a token that names no user does not either", async () => {
  const gateway = await gatewayWithHistory();
  const others = [
    { getToken: () => token("bob") },
    { getToken: () => token("ann", { iss: "another" }) },
    { getToken: () => token("ann", { executions: ["run-1"] }) },
    { organizationId: "other" },
    { share: false },
    { shareKey: "ann" },
    { getToken: () => "opaque" },
    { getToken: () => token("") },
  ];
  const ann = tab(gateway);
  await live([ann]);
  for (const options of others) {
    const other = tab(gateway, options);
    await live([other]);
    assert.equal(gateway.open.size, 2, JSON.stringify(options));
    other.subscription.close();
    await eventually(() => gateway.open.size === 1, "closed");
  }
});

test("with a shareKey, tokens that nobody can read share too", async () => {
  const gateway = await gatewayWithHistory();
  await sharedBy(3, gateway, { shareKey: "ann", getToken: () => "opaque" });
});

test("a tab that cannot share says why, when nothing arrives", async () => {
  const gateway = await gatewayWithHistory();
  gateway.holdsBack = true;
  const timing = { connectedWithinMs: 50 };
  const [page, refusing] = [new Page(), new Page()];
  page.BroadcastChannel = undefined;
  refusing.BroadcastChannel = class {
    constructor() {
      throw new DOMException("The operation is insecure.", "SecurityError");
    }
  };
  const reasons = [
    [{ page }, /this browser gives it no BroadcastChannel/],
    [{ page: refusing }, /this browser gives it no BroadcastChannel/],
    [{ getToken: () => "opaque" }, /the token has no readable sub/],
  ];
  for (const [options, reason] of reasons) {
    const { subscription } = tab(gateway, { timing, ...options });
    await eventually(() => reason.test(subscription.error?.message), reason.source);
    assert.equal(subscription.error.code, "held_back");
  }
});

test("a leader whose token is refused steps down, and the next tab leads", async () => {
  const refused = new Set();
  const gateway = await gatewayWithHistory({
    accepts: ({ headers }) => !refused.has(headers.authorization),
  });
  const tokens = [1, 2, 3].map((jti) => token("ann", { jti }));
  const tabs = [];
  for (const one of tokens) {
    tabs.push(tab(gateway, { getToken: undefined, token: one }));
    await live(tabs);
  }
  const [leader, ...others] = tabs;
  refused.add(`Bearer ${tokens[0]}`);
  gateway.send("stream:closing", { reason: "revoked", retry_ms: 10 });
  for (const response of gateway.open) response.end();
  await leader.subscription.finished;
  assert.equal(leader.subscription.error.status, 401);
  await finish(gateway, others, "5-1", []);
  for (const { statuses } of others) assert.deepEqual(statuses, ["live", "completed"]);
  // So does one that has just come, and is refused at once.
  const gone = tab(gateway, { getToken: undefined, token: tokens[0] });
  await gone.subscription.finished;
  assert.equal(gone.subscription.status, "closed");
  assert.deepEqual(gone.seen, []);
});

test("a follower whose token expires asks for another one; without one, it has the gateway's refusal", async () => {
  const gateway = await gatewayWithHistory({
    accepts: ({ headers }) =>
      JSON.parse(atob(headers.authorization.split(".")[1])).exp > Date.now() / 1000,
  });
  const [leader] = await sharedBy(1, gateway);
  // Both are live before it ends.
  const short = token("ann", { exp: Date.now() / 1000 + 3 });
  const stays = tab(gateway, { getToken: undefined, token: short });
  let asked = 0;
  const renews = tab(gateway, { getToken: () => ((asked += 1) === 1 ? short : token("ann")) });
  await live([stays, renews]);
  await stays.subscription.finished;
  assert.equal(stays.subscription.error.status, 401);
  await finish(gateway, [leader, renews], "5-1", []);
  assert.deepEqual(renews.statuses, ["live", "completed"]);
  assert.deepEqual(stays.seen, []);
});

test("when the gateway closes the shared stream, all wait as it asks, and one tab comes back for all", async () => {
  const gateway = await gatewayWithHistory();
  const tabs = await sharedBy(5, gateway);
  const began = Date.now();
  gateway.send("stream:closing", { reason: "drain", retry_ms: 300 }, "retry: 300\n");
  for (const response of gateway.open) response.end();
  await eventually(() => tabs.every(({ statuses }) => statuses.at(-1) === "reconnecting"), "lost");
  for (const { subscription } of tabs) assert.equal(subscription.error.reason, "drain");
  await live(tabs);
  assert.ok(Date.now() - began >= 300, "too early");
  await eventually(() => gateway.open.size === 1, "one stream");
  await finish(gateway, tabs, "5-1", []);
});

test("where Web Locks are refused, as in a sandboxed frame, tabs share without them", async () => {
  const gateway = await gatewayWithHistory();
  const refuse = () => Promise.reject(new DOMException("denied", "SecurityError"));
  const navigator = { locks: { query: refuse, request: refuse } };
  const tabs = await sharedBy(1, gateway, { page: new Page({ navigator }) });
  tabs.push(tab(gateway, { page: new Page({ navigator }) }));
  await live(tabs);
  await finish(gateway, tabs, "5-1", []);
  assert.equal(gateway.asked.streams.length, 1);
});

test("with Web Locks the end of a leader is noticed at once, though it says nothing", async () => {
  const gateway = await gatewayWithHistory();
  const locked = () => tab(gateway, { page: new Page({ navigator: globalThis.navigator }) });
  const [leader, ...others] = [locked()];
  await live([leader]);
  others.push(locked(), locked());
  await live(others);
  leader.page.crash();
  leader.subscription.close();
  gateway.publish("5-1");
  await finish(gateway, others, "5-2", ["5-1"]);
  for (const { statuses } of others) assert.deepEqual(statuses, ["live", "completed"]);
});
