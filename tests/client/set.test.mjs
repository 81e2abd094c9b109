// Several executions on one stream, as a page has them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { subscribeToExecutions } from "../../gateway/client/executions.js";
import { connected, eventually, frame, refuse, serve } from "./server.mjs";

const happened = (run, id, cursor, type = "step:started") =>
  frame(
    type,
    { execution_id: run, id, type, data: { node_id: id }, timestamp: "2026-03-02T08:00:00Z" },
    `id: ${cursor}\n`,
  );
const notice = (type, run, more) => frame(`stream:${type}`, { execution_id: run, ...more });
const envelope = (id, type = "step:started") => ({ id, type, data: {}, timestamp: null });

function set(baseUrl, executionIds, options = {}) {
  const seen = [];
  const ended = [];
  const connections = [];
  const subscription = subscribeToExecutions({
    baseUrl,
    executionIds,
    getToken: () => "token",
    onEvent: (event, id) => seen.push(`${id} ${event.id ?? event.type}`),
    onComplete: (run, id) => ended.push(`${id} ${run.status}`),
    onStatus: (connection) => connections.push(connection),
    ...options,
  });
  const states = () => subscription.executions.map(({ state }) => state).join();
  return { subscription, seen, ended, connections, states };
}

test("several runs on one stream, each from its first event to its end, and over with the last", async () => {
  const seenFirst = Promise.withResolvers();
  const server = await serve({
    stream: async (request, response) => {
      assert.equal(request.url, "/api/v1/sse/executions/stream?execution_id=a&execution_id=b:1");
      response.begin(connected() + happened("a", "5-1", "x1") + happened("b:1", "7-1", "x2"));
      response.write(happened("a", "5-2", "x3", "execution:completed"));
      response.write(notice("ended", "a", { status: "completed" }) + happened("c", "1-1", "x4"));
      await seenFirst.promise;
      response.write(happened("b:1", "7-2", "x5", "execution:failed"));
      response.end(notice("ended", "b:1", { status: "failed" }));
    },
  });
  const { subscription, seen, ended, connections, states } = set(server.baseUrl, ["a", "b:1", "a"]);
  assert.deepEqual(subscription.executionIds, ["a", "b:1"]);
  assert.equal(states(), "following,following");
  await eventually(() => states() === "ended,following");
  assert.equal(subscription.connection, "live");
  seenFirst.resolve();
  await subscription.finished;
  assert.deepEqual(
    seen.filter((one) => one.startsWith("a")),
    ["a 5-1", "a 5-2"],
  );
  assert.deepEqual(
    seen.filter((one) => one.startsWith("b")),
    ["b:1 7-1", "b:1 7-2"],
  );
  assert.equal(seen.length, 4);
  assert.deepEqual(ended, ["a completed", "b:1 failed"]);
  assert.deepEqual(connections, ["live", "closed"]);
  assert.equal(subscription.error, null);
  assert.equal(server.asked.streams.length, 1);
  assert.equal(server.asked.polls.length, 0);
  const [{ run, execution_id: id }] = subscription.executions;
  assert.deepEqual([id, run.id, run.execution_logs.length], ["a", "a", 1]);
  assert.ok(!("execution_id" in run.events[0]), "an event is what it is on its own stream");
});

test("a lost stream goes on after its last cursor, and no event is seen twice", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(connected() + happened("a", "5-1", "first"));
      if (number === 1) response.write(happened("b", "7-1", "second"), () => response.destroy());
      else {
        response.write(
          happened("b", "7-1", "second") + happened("b", "7-2", "x", "execution:failed"),
        );
        response.end(happened("a", "5-2", "y", "execution:canceled"));
      }
    },
  });
  const { subscription, seen, ended } = set(server.baseUrl, ["a", "b"]);
  await subscription.finished;
  assert.deepEqual(seen.toSorted(), ["a 5-1", "a 5-2", "b 7-1", "b 7-2"]);
  assert.deepEqual(ended.toSorted(), ["a canceled", "b failed"]);
  assert.equal(server.asked.streams[1].headers["last-event-id"], "second");
});

test("gap, reset, absence and closing are those of one execution, and the others go on", async (t) => {
  const server = await serve({
    stream: (request, response) => {
      const closing = { reason: "revoked", retry_ms: 1 };
      const gap = { from: "5-1", to: "5-2", missed: 2 };
      response.begin(connected() + notice("gap", "a", gap) + happened("a", "5-3", "x1"));
      response.write(happened("b", "7-1", "x2") + notice("reset", "b", { reason: "restarted" }));
      response.write(happened("b", "8-1", "x3") + notice("absent", "c"));
      response.write(happened("d", "1-1", "x4") + notice("closing", "d", closing));
      response.write(happened("a", "5-4", "x5"));
    },
  });
  const { subscription, seen, states } = set(server.baseUrl, ["a", "b", "c", "d"]);
  t.after(() => subscription.close());
  await eventually(() => seen.includes("a 5-4"));
  assert.equal(states(), "following,following,absent,closed");
  assert.equal(subscription.connection, "live");
  const [a, b, , d] = subscription.executions;
  assert.equal(a.run.events_missing, 2);
  assert.deepEqual(
    b.run.events.map(({ id }) => id),
    ["8-1"],
  );
  assert.equal(d.error.reason, "revoked");
  assert.deepEqual(
    seen.filter((one) => !/\d$/.test(one)),
    ["a stream:gap", "b stream:reset"],
  );
});

test("a run that had ended before is what its document says; what is only known of its end, that", async () => {
  for (const [poll, logs] of [
    [() => ({ status: "failed", error_message: "no", events: [envelope("5-1")] }), 1],
    [() => 503, 0],
  ]) {
    const server = await serve({
      stream: (request, response) =>
        response.begin(connected()) ?? response.end(notice("ended", "a", { status: "failed" })),
      poll,
    });
    const { subscription, ended, connections } = set(server.baseUrl, ["a"]);
    await subscription.finished;
    assert.deepEqual(ended, ["a failed"]);
    assert.equal(subscription.executions[0].run.execution_logs.length, logs);
    assert.ok(!connections.includes("reconnecting"), connections);
    assert.equal(server.asked.streams.length, 1);
  }
});

test("204: all have ended and were seen, so their documents say how", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) {
        return response.begin(connected() + happened("a", "5-1", "x")) ?? response.end();
      }
      response.writeHead(204);
      response.end();
    },
    poll: ({ url }) => ({ status: url.includes("runs/a") ? "completed" : "failed", events: [] }),
  });
  const { subscription, ended } = set(server.baseUrl, ["a", "b"]);
  await subscription.finished;
  assert.deepEqual(ended, ["a completed", "b failed"]);
});

test("where no stream can be had each run is polled; the stream goes on without doubles or old gaps", async () => {
  let mayStream = false;
  const server = await serve({
    stream: (request, response) => {
      if (!mayStream) return response.begin();
      const gap = { from: "5-1", to: "5-1", missed: 1 };
      response.begin(connected() + notice("gap", "a", gap) + happened("a", "5-2", "x"));
      response.end(happened("a", "5-3", "y", "execution:completed"));
    },
    poll: ({ url, query }) => {
      if (url.includes("runs/b")) return 404;
      return query.has("after")
        ? null
        : { status: "running", events: [envelope("5-1"), envelope("5-2")] };
    },
  });
  const { subscription, seen, states, connections } = set(server.baseUrl, ["a", "b"], {
    timing: { connectedWithinMs: 50, pollEveryMs: 10, probeEveryMs: 40 },
  });
  await eventually(() => subscription.connection === "polling" && states() === "following,absent");
  mayStream = true;
  await subscription.finished;
  assert.deepEqual(seen, ["a 5-1", "a 5-2", "a 5-3"]);
  assert.equal(subscription.executions[0].run.complete, true);
  assert.equal(connections.at(-1), "closed");
});

test("none may be seen: closed, and the refusal says why", async () => {
  const server = await serve({
    stream: (_, response) => refuse(response, 404, "execution_not_found"),
  });
  const tokens = [];
  const { subscription } = set(server.baseUrl, ["a", "b"], {
    getToken: ({ fresh }) => `token ${tokens.push(fresh)}`,
  });
  await subscription.finished;
  assert.deepEqual(
    [subscription.connection, subscription.error.code],
    ["closed", "execution_not_found"],
  );
  assert.deepEqual(tokens, [false, true]);
});

test("more than fifty are several streams with one token, and as live as the worst of them", async (t) => {
  const ids = Array.from({ length: 101 }, (_, n) => `${"x".repeat(124)}::${n}`.slice(-128));
  let held;
  let given = 0;
  const server = await serve({
    stream: (request, response, number) => {
      assert.equal(request.headers.authorization, "Bearer token 1");
      assert.ok(request.url.length < 7_900, "a request line has at most 8,000 bytes");
      const asked = request.query.getAll("execution_id");
      if (number === 2) held = () => response.begin(connected());
      else response.begin(connected());
      if (asked.length === 1) response.write(happened(asked[0], "1-1", "x", "execution:completed"));
    },
  });
  const { subscription, ended } = set(server.baseUrl, ids, { getToken: () => `token ${++given}` });
  t.after(() => subscription.close());
  await eventually(() => ended.length === 1 && held);
  assert.deepEqual(ended, [`${ids[100]} completed`]);
  assert.deepEqual(
    server.asked.streams.map(({ query }) => query.getAll("execution_id").length).toSorted(),
    [1, 50, 50],
  );
  assert.equal(subscription.connection, "connecting");
  held();
  await eventually(() => subscription.connection === "live");
});

test("an EventSource has a ticket for the set, and none where a cookie is the credential", async (t) => {
  const urls = [];
  globalThis.EventSource = class extends EventTarget {
    constructor(url) {
      super();
      urls.push(url.replace(/^http:..[^/]+/, ""));
    }
    close() {}
  };
  t.after(() => delete globalThis.EventSource);
  let body = "";
  const server = await serve({
    stream: () => {},
    ticket: (request) => {
      assert.equal(request.headers["content-type"], "application/json");
      request.on("data", (data) => (body += data));
      return { ticket: "t" };
    },
  });
  const one = set(server.baseUrl, ["a", "b"], { transport: "event-source" }).subscription;
  t.after(() => one.close());
  await eventually(() => urls.length === 1 && body);
  assert.deepEqual(JSON.parse(body), { execution_ids: ["a", "b"] });
  const other = set(server.baseUrl, ["a", "b"], {
    transport: "event-source",
    getToken: undefined,
    credentials: "include",
    organizationId: "acme",
  }).subscription;
  t.after(() => other.close());
  await eventually(() => urls.length === 2);
  const path = "/api/v1/sse/executions/stream";
  assert.deepEqual(urls, [
    `${path}?ticket=t`,
    `${path}?execution_id=a&execution_id=b&organization_id=acme`,
  ]);
});
