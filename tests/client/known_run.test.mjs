// The connection and the run are two things: what is known of each where the stream does not show it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { follow } from "./follower.mjs";
import { connected, eventually, frame, happened, serve } from "./server.mjs";

const run = (events, status = "running") => ({ status, events });
const envelope = (id, type = "step:started") => ({ id, type, data: {}, timestamp: null });

test("an execution that ended, and its history is gone: the run is what its document says, or only how it ended", async () => {
  const times = { started_at: "2026-03-02T07:00:00Z", completed_at: "2026-03-02T08:00:00Z" };
  for (const [poll, known] of [
    [() => ({ ...run([], "canceled"), ...times }), { status: "canceled", ...times }],
    [() => 500, { status: "canceled", started_at: null, completed_at: null }],
  ]) {
    const server = await serve({
      stream: (request, response) =>
        response.begin(connected({ status: "canceled" })) ?? response.end(),
      poll,
    });
    const { subscription, statuses } = follow(server.baseUrl);
    await subscription.finished;
    assert.deepEqual(statuses, ["live", "failed"]);
    const { status, started_at, completed_at } = subscription.run;
    assert.deepEqual({ status, started_at, completed_at }, known);
    assert.equal(server.asked.polls.length, 1);
  }
});

test("a reader that has seen the end (204): the run is what its document says, and no event is reported", async () => {
  const pages = {
    null: { ...run([envelope("5-1")], "failed"), more: true, last_event_id: "5-1" },
    "5-1": run([envelope("5-9", "execution:failed")], "failed"),
  };
  const server = await serve({
    stream: (request, response) => response.writeHead(204).end(),
    poll: (request) => pages[request.query.get("after")],
  });
  const { subscription, seen } = follow(server.baseUrl, { lastEventId: "5-9" });
  assert.equal(subscription.run.status, "unknown");
  await subscription.finished;
  assert.deepEqual([subscription.status, subscription.run.status], ["failed", "failed"]);
  assert.deepEqual(
    subscription.run.execution_logs.map((step) => step.status),
    ["interrupted"],
  );
  assert.deepEqual(seen, []);
  assert.equal(server.asked.streams.length, 1);
});

test("a new epoch in which nothing is lost: a live stream stays live, and polls keep the steps", async (t) => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number > 1) return;
      response.begin(connected({ last_event_id: "5-2" }) + happened("5-1"));
      // With the end of the old epoch in one packet.
      response.write(happened("5-2") + happened("6-1"));
      server.first = response;
    },
    poll: () => ({ ...run([envelope("7-1"), envelope("7-2")]), cursor: "valid" }),
  });
  const { subscription, seen } = follow(server.baseUrl, { timing: { connectedWithinMs: 500 } });
  t.after(() => subscription.close());
  await eventually(() => seen.length === 3);
  assert.equal(subscription.connection, "live");
  server.first.destroy();
  await eventually(() => subscription.connection === "polling");
  assert.deepEqual(seen, ["5-1", "5-2", "6-1", "7-1", "7-2"]);
  assert.equal(subscription.run.execution_logs.length, 5);
  assert.equal(subscription.run.complete, true);
});

test("the history that was to catch up with is lost meanwhile: it is not catching up for the rest", async () => {
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected({ last_event_id: "5-9" }) + happened("5-1"));
      server.first = response;
    },
  });
  const { subscription } = follow(server.baseUrl);
  await eventually(() => subscription.connection === "catching-up");
  server.first.write(frame("stream:reset", { reason: "history_lost" }));
  await eventually(() => subscription.connection === "live");
  assert.equal(subscription.run.status, "unknown");
  subscription.close();
});

test("an execution that was deleted: it ends for good, and says why", async () => {
  const server = await serve({
    stream: (request, response) => {
      const closing = frame("stream:closing", { reason: "forgotten", retry_ms: 20 });
      response.begin(connected() + closing) ?? response.end();
    },
  });
  const { subscription } = follow(server.baseUrl);
  await assert.rejects(async () => {
    for await (const _ of subscription);
  }, /forgotten/);
  assert.deepEqual([subscription.connection, subscription.status], ["closed", "closed"]);
  assert.equal(server.asked.streams.length, 1);
});
