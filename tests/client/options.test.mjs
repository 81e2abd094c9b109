// What an application may set, and how it may hold a subscription.

import assert from "node:assert/strict";
import { test } from "node:test";

import { reactive, ref } from "../../.venv/npm/node_modules/vue/index.mjs";
import { subscribeToExecution } from "../../gateway/client/index.js";
import { follow } from "./follower.mjs";
import { connected, eventually, happened, refuse, serve } from "./server.mjs";

const END = happened("5-9", "execution:failed");
const whole = (request, response) =>
  response.begin(connected() + happened("5-1")) ?? response.end(END);

test("an own fetch, further headers and cookies: for streams, polls and tickets; a cookie gets no ticket", async () => {
  const server = await serve({
    stream: (request, response) => response.begin(),
    poll: (request, number) => ({ status: number < 2 ? "running" : "failed", events: [] }),
  });
  const sent = [];
  const options = {
    getToken: undefined,
    organizationId: "acme",
    headers: { "X-Tenant": "7", Authorization: "of a proxy" },
    credentials: "include",
    fetch: (url, init) => sent.push([new URL(url).pathname, init]) && fetch(url, init),
    timing: { connectedWithinMs: 30, pollEveryMs: 10 },
  };
  await follow(server.baseUrl, options).subscription.finished;
  const opened = [];
  globalThis.EventSource = class extends EventTarget {
    constructor(url, init) {
      super();
      opened.push([new URL(url).search, init]);
    }
    close() {}
  };
  for (const headers of [options.headers, {}]) {
    const own = { ...options, headers, transport: "event-source", timing: {} };
    const { subscription } = follow(server.baseUrl, own);
    await eventually(() => opened.length > 0);
    subscription.close();
    const search = headers === options.headers ? "?ticket=t" : "?organization_id=acme";
    assert.deepEqual(opened.pop(), [search, { withCredentials: true }]);
  }
  delete globalThis.EventSource;
  assert.deepEqual([...new Set(sent.map(([path]) => path.split("/").at(-1)))].sort(), [
    "run-1",
    "stream",
    "ticket",
  ]);
  for (const [, { headers, credentials, cache }] of sent) {
    assert.deepEqual([credentials, cache], ["include", "no-store"]);
    assert.deepEqual([headers["X-Tenant"], headers.Authorization], ["7", "of a proxy"]);
    assert.equal(headers["X-Organization-ID"], "acme");
  }
});

test("a cookie that is refused is final; a token wins over a header of that name", async () => {
  const server = await serve({
    stream: (request, response) =>
      request.headers.authorization === "Bearer t"
        ? whole(request, response)
        : refuse(response, 401, "token_missing"),
  });
  const { subscription } = follow(server.baseUrl, { getToken: undefined, credentials: "include" });
  await subscription.finished;
  assert.deepEqual([server.asked.streams.length, subscription.error.code], [1, "token_missing"]);
  const headers = { Authorization: "none" };
  const withToken = follow(server.baseUrl, { getToken: () => "t", headers }).subscription;
  await withToken.finished;
  assert.equal(withToken.status, "failed");
});

test("onComplete is called once, with the whole run, and not after close", async () => {
  const server = await serve({ stream: whole });
  const completed = [];
  const onComplete = (run) => completed.push([run.status, run.events.length]);
  const { subscription } = follow(server.baseUrl, { onComplete });
  await subscription.finished;
  subscription.close();
  assert.deepEqual(completed, [["failed", 2]]);
  const { subscription: closed } = follow(server.baseUrl, { onComplete });
  closed.close();
  await closed.finished;
  assert.equal(completed.length, 1);
});

test("subscribe is a store's contract: at once, then once for many changes, until it is stopped", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected());
      let written = 0;
      // Timers of Node do not keep the order of their times.
      for (let n = 1; n <= 50; n += 1) {
        setTimeout(() => response.write(happened(`5-${(written += 1)}`)), n);
      }
      server.last = response;
    },
  });
  const { subscription, seen } = follow(server.baseUrl, { throttleMs: 100 });
  const [shown, began] = [[], Date.now()];
  const stop = subscription.subscribe((snapshot) => shown.push(snapshot));
  assert.deepEqual([shown.length, shown[0].status], [1, "connecting"]);
  await eventually(() => seen.length === 50 && shown.at(-1).events.length === 50);
  // The events take as long as the machine lets their timers take.
  const most = Math.max(5, 2 + (Date.now() - began) / 100);
  assert.ok(shown.length <= most, `${shown.length} times`);
  assert.equal(new Set(shown).size, shown.length);
  assert.equal(shown.at(-1).run, subscription.run);
  const count = shown.length;
  stop();
  server.last.end(happened("5-51", "execution:completed"));
  await subscription.finished;
  const last = await new Promise((resolve) =>
    subscription.subscribe((snapshot) => snapshot.status === "completed" && resolve(snapshot)),
  );
  assert.deepEqual([last.events.length, shown.length], [51, count]);
});

const proxies = {
  "a proxy": (subscription) => new Proxy(subscription, {}),
  "Vue's reactive": reactive,
  "Vue's ref": (subscription) => ref(subscription).value,
};

for (const [name, proxyOf] of Object.entries(proxies)) {
  test(`it works behind ${name}`, async () => {
    const server = await serve({ stream: whole });
    const { subscription } = follow(server.baseUrl);
    const proxied = proxyOf(subscription);
    assert.notEqual(proxied, subscription);
    const stop = proxied.watch(() => {});
    for await (const event of proxied) assert.ok(event.id);
    proxied.tryAgain();
    stop();
    proxied.subscribe(() => {})();
    await proxied.finished;
    proxied.close();
    const { connection, status, run, error, events, lastEventId, nextTryAt, executionId } = proxied;
    assert.deepEqual([connection, status, run.status], ["closed", "failed", "failed"]);
    assert.deepEqual([error, events.length, lastEventId, nextTryAt], [null, 2, "5-9", null]);
    assert.equal(executionId, "run-1");
  });
}

test("break closes it, and so does the end of its block", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected() + happened("5-1"));
      response.on("close", () => (server.closed = (server.closed ?? 0) + 1));
    },
  });
  const { subscription } = follow(server.baseUrl);
  for await (const event of subscription) {
    assert.equal(event.id, "5-1");
    break;
  }
  assert.equal(subscription.status, "closed");
  const other = follow(server.baseUrl).subscription;
  await eventually(() => other.connection === "live");
  other[Symbol.dispose]();
  assert.equal(other.status, "closed");
  await eventually(() => server.closed === 2);
});

test("outside a page a missing baseUrl is an error at once", () => {
  assert.throws(() => subscribeToExecution("run-1", { token: "x" }), /baseUrl/);
});
