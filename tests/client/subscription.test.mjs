import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused, subscribeToExecution } from "../../gateway/client/index.js";
import { follow } from "./follower.mjs";
import { connected, eventually, frame, happened, refuse, serve } from "./server.mjs";

const END = happened("5-9", "execution:completed");
const run = (events, status = "running") => ({ status, events });
const envelope = (id, type = "step:started") => ({ id, type, data: {}, timestamp: null });

test("a run from its first event to its end: token in a header, and the right status", async () => {
  const server = await serve({
    stream: async (request, response) => {
      assert.equal(request.headers.authorization, "Bearer token");
      assert.equal(request.headers["x-organization-id"], "acme");
      assert.equal([...request.query].length, 0);
      response.begin(connected({ last_event_id: "5-2" }) + happened("5-1"));
      await eventually(() => statuses.at(-1) === "catching-up");
      response.write(happened("5-2"));
      await eventually(() => statuses.at(-1) === "live");
      response.write(happened("5-3", "execution:paused"));
      await eventually(() => statuses.at(-1) === "paused");
      response.write(happened("5-4"));
      await eventually(() => statuses.at(-1) === "live");
      response.end(END);
    },
  });
  const { subscription, statuses, seen } = follow(server.baseUrl);
  assert.equal(subscription.status, "connecting");
  await subscription.finished;
  assert.deepEqual(seen, ["5-1", "5-2", "5-3", "5-4", "5-9"]);
  assert.deepEqual(statuses, ["catching-up", "live", "paused", "live", "completed"]);
  assert.equal(subscription.connection, "closed");
  assert.equal(subscription.run.status, "completed");
  assert.equal(subscription.error, null);
});

test("a lost stream continues after the last event, and no event is seen twice", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(connected());
      if (number === 1) response.write(happened("5-1") + happened("5-2"), () => response.destroy());
      else response.end(happened("5-2") + happened("5-3") + END);
    },
  });
  const { subscription, statuses, seen } = follow(server.baseUrl);
  await subscription.finished;
  assert.deepEqual(seen, ["5-1", "5-2", "5-3", "5-9"]);
  assert.equal(server.asked.streams[1].headers["last-event-id"], "5-2");
  assert.ok(statuses.includes("reconnecting"));
});

test("a proxy that holds the stream back: polls after the wait, and the stream again when it works", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number <= 2) response.begin();
      else response.begin(connected() + happened("5-3"));
      if (number > 2) setTimeout(() => response.end(END), 50);
    },
    poll: (request) =>
      request.query.get("after") === "5-2" ? null : run([envelope("5-1"), envelope("5-2")]),
  });
  const { subscription, statuses, seen } = follow(server.baseUrl, {
    timing: { connectedWithinMs: 100, pollEveryMs: 20, probeEveryMs: 50 },
  });
  await subscription.finished;
  assert.deepEqual(seen, ["5-1", "5-2", "5-3", "5-9"]);
  assert.deepEqual(statuses, ["reconnecting", "polling", "live", "completed"]);
  assert.equal(server.asked.streams[2].headers["last-event-id"], "5-2");
  const polls = server.asked.polls.length;
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(server.asked.polls.length, polls, "it still polls");
});

test("a run that ends while it is polled", async () => {
  const server = await serve({
    stream: (request, response) => response.begin(),
    poll: () => run([envelope("5-1"), envelope("5-2", "execution:failed")], "failed"),
  });
  const { subscription, seen } = follow(server.baseUrl, { timing: { connectedWithinMs: 50 } });
  await subscription.finished;
  assert.deepEqual(seen, ["5-1", "5-2"]);
  assert.equal(subscription.status, "failed");
});

test("a run that is polled in pages: all of them at once, and its end only with the last", async () => {
  const pages = {
    null: { ...run([envelope("5-1"), envelope("5-2")], "failed"), more: true },
    "5-2": { ...run([envelope("5-3")], "failed"), more: false },
  };
  const server = await serve({
    stream: (request, response) => response.begin(),
    poll: (request) => pages[request.query.get("after")],
  });
  const { subscription, seen } = follow(server.baseUrl, {
    timing: { connectedWithinMs: 50, pollEveryMs: 60_000 },
  });
  await subscription.finished;
  assert.deepEqual(seen, ["5-1", "5-2", "5-3"]);
  assert.equal(subscription.status, "failed");
  assert.ok(server.asked.polls.every((request) => request.query.get("limit") > 0));
});

test("a silent stream is given up after 2.5 heartbeats", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(connected({ heartbeat_seconds: 0.1 }));
      if (number === 2) response.end(END);
    },
  });
  const began = Date.now();
  const { subscription } = follow(server.baseUrl);
  await subscription.finished;
  assert.ok(Date.now() - began >= 240, "too early");
  assert.equal(subscription.status, "completed");
});

test("a stream with only heartbeats is kept", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected({ heartbeat_seconds: 0.1 }));
      const timer = setInterval(() => response.write(frame("heartbeat", {})), 80);
      setTimeout(() => response.end(END), 600);
      response.on("close", () => clearInterval(timer));
    },
  });
  const { subscription, statuses } = follow(server.baseUrl);
  await subscription.finished;
  assert.equal(server.asked.streams.length, 1);
  assert.deepEqual(statuses, ["live", "completed"]);
});

test("a stream whose gateway has lost Redis is not live, until a heartbeat or an event says else", async () => {
  const lost = frame("heartbeat", { redis: "disconnected" });
  for (const back of [frame("heartbeat", {}), happened("5-1")]) {
    const server = await serve({
      stream: async (request, response) => {
        response.begin(connected() + lost);
        await eventually(() => subscription.connection === "reconnecting");
        const { code, retryable } = subscription.error;
        assert.deepEqual([code, retryable], ["redis", true]);
        response.write(back);
        await eventually(() => subscription.connection === "live");
        assert.equal(subscription.error, null);
        response.end(END);
      },
    });
    const { subscription } = follow(server.baseUrl);
    await subscription.finished;
    assert.equal(subscription.status, "completed");
    assert.equal(server.asked.streams.length, 1);
  }
});

test("a stream is kept whose heartbeat came while the page was busy", async () => {
  const server = await serve({
    stream: async (request, response, number) => {
      response.begin(connected({ heartbeat_seconds: 0.1 }));
      if (number > 1) return response.end(END);
      await eventually(() => statuses.at(-1) === "live");
      // After this come the timers, and only then what has arrived.
      setImmediate(() => {
        response.write(frame("heartbeat", {}));
        process.nextTick(() => {
          const until = Date.now() + 300;
          while (Date.now() < until);
          setTimeout(() => response.end(END), 20);
        });
      });
    },
  });
  const { subscription, statuses } = follow(server.baseUrl);
  await subscription.finished;
  assert.equal(server.asked.streams.length, 1);
});

test("gaps and resets are shown, and after a reset the run starts again", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected() + frame("stream:gap", { from: "5-1", to: "5-3", missed: 3 }));
      response.write(happened("5-4") + frame("stream:reset", { reason: "history_lost" }));
      response.end(happened("6-1") + happened("6-2", "execution:completed"));
    },
  });
  const { subscription, seen } = follow(server.baseUrl);
  await subscription.finished;
  assert.deepEqual(seen, ["stream:gap", "5-4", "stream:reset", "6-1", "6-2"]);
  assert.deepEqual(
    subscription.run.events.map((one) => one.id),
    ["6-1", "6-2"],
  );
});

test("an async iterator yields every event, also to a late reader, and throws the final error", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected() + happened("5-1"));
      setTimeout(() => response.end(END), 50);
    },
  });
  const { subscription } = follow(server.baseUrl);
  for (let turn = 0; turn < 2; turn += 1) {
    const ids = [];
    for await (const event of subscription) ids.push(event.id);
    assert.deepEqual(ids, ["5-1", "5-9"]);
  }
  const refusing = await serve({ stream: (request, response) => refuse(response, 404, "no") });
  await assert.rejects(async () => {
    for await (const _ of follow(refusing.baseUrl).subscription);
  }, Refused);
});

test("close and an aborted signal end it: no further request and no further callback", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected());
      const timer = setInterval(() => response.write(happened(`5-${Date.now()}`)), 5);
      response.on("close", () => clearInterval(timer));
    },
  });
  for (const end of [({ subscription }) => subscription.close(), ({ abort }) => abort.abort()]) {
    const abort = new AbortController();
    const { subscription, seen } = follow(server.baseUrl, { signal: abort.signal });
    await eventually(() => seen.length > 2);
    const before = server.asked.streams.length;
    end({ subscription, abort });
    const notified = seen.length;
    await subscription.finished;
    assert.equal(subscription.status, "closed");
    assert.equal(seen.length, notified);
    assert.equal(server.asked.streams.length, before);
  }
});

test("a callback that throws ends nothing", async () => {
  const server = await serve({
    stream: (request, response) =>
      response.begin(connected() + happened("5-1")) ?? response.end(END),
  });
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  const { subscription } = follow(server.baseUrl, {
    onEvent: () => {
      throw new Error("the page's own");
    },
  });
  await subscription.finished;
  delete globalThis.reportError;
  assert.equal(subscription.status, "completed");
  assert.deepEqual(reported, ["the page's own", "the page's own"]);
});

test("the legacy API: the form of the front-end document", async () => {
  const server = await serve({
    stream: (request, response) => {
      assert.equal(request.headers.authorization, "Bearer token");
      assert.equal(request.headers["x-organization-id"], "acme");
      response.begin(connected()) ?? response.end(END);
    },
  });
  const stream = subscribeToExecution("run-1", "token", "acme", { baseUrl: server.baseUrl });
  await stream.finished;
  assert.equal(stream.status, "completed");
  stream.close();
});

test("wrong arguments throw at once", () => {
  assert.throws(() => subscribeToExecution("", { token: "x" }), TypeError);
  assert.throws(() => subscribeToExecution("run-1", {}), TypeError);
});
