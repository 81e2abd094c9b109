// A list of an organization's runs, as a page has it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { subscribeToExecutions } from "../../gateway/client/executions.js";
import { connected, eventually, frame, refuse, serve } from "./server.mjs";

const at = (second) => `2026-03-02T08:00:${String(second).padStart(2, "0")}.000Z`;
const summary = (id, second, more) => ({
  execution_id: id,
  status: "running",
  updated_at: at(second),
  ...more,
});
const snapshot = (...executions) => frame("executions:snapshot", { executions });
const added = (...given) => frame("execution:added", summary(...given));
const updated = (...given) => frame("execution:updated", summary(...given));
const removed = (id) => frame("execution:removed", { execution_id: id });

function list(baseUrl, options = {}) {
  const connections = [];
  const subscription = subscribeToExecutions({
    baseUrl,
    getToken: () => "token",
    organizationId: "acme",
    onStatus: (connection) => connections.push(connection),
    ...options,
  });
  const ids = () => subscription.executions?.map((one) => one.execution_id).join();
  return { subscription, connections, ids };
}

test("a list is the newest ones, newest activity first, as the stream says; never an older state", async (t) => {
  let write;
  const server = await serve({
    stream: (request, response) => {
      assert.equal(request.headers.authorization, "Bearer token");
      assert.equal(
        request.url,
        "/api/v1/sse/organizations/a%2Fb/executions/stream?status=running%2Cpaused&workflow_id=w&limit=3",
      );
      response.begin(connected() + updated("early", 1));
      write = (text) => response.write(text);
    },
  });
  const { subscription, ids } = list(server.baseUrl, {
    organizationId: "a/b",
    status: ["running", "paused"],
    workflowId: "w",
    limit: 3,
  });
  t.after(() => subscription.close());
  assert.equal(subscription.executions, null);
  await eventually(() => subscription.connection === "live");
  assert.equal(subscription.executions, null, "an update is no list");
  const steps = [
    [snapshot(summary("a", 1), summary("c", 5), summary("b", 5)), "b,c,a"],
    [updated("a", 6, { watching: 2 }), "a,b,c"],
    [updated("a", 5) + updated("b", 7), "b,a,c"],
    [added("d", 6), "b,a,d"],
    [removed("a"), "b,d"],
    [added("c", 5) + added("e", 4), "b,d,c"],
    [snapshot(summary("e", 1)), "e"],
    [snapshot(), ""],
  ];
  for (const [text, wanted] of steps) {
    write(text);
    await eventually(() => ids() === wanted, `${text} gives ${wanted}, not ${ids()}`);
  }
});

test("a page is shown another list only where something has changed", async (t) => {
  let write;
  const server = await serve({
    stream: (request, response) => {
      response.begin(connected() + snapshot(summary("a", 1)));
      write = (text) => response.write(text);
    },
  });
  const { subscription } = list(server.baseUrl, { throttleMs: 0 });
  t.after(() => subscription.close());
  const shown = [];
  subscription.subscribe(({ executions, connection, error }) =>
    shown.push([executions?.length ?? null, connection, error]),
  );
  await eventually(() => shown.length === 2);
  write(frame("heartbeat", {}) + removed("unknown"));
  write(added("b", 2));
  await eventually(() => subscription.executions.length === 2 && shown.length === 3);
  assert.deepEqual(shown, [
    [null, "connecting", null],
    [1, "live", null],
    [2, "live", null],
  ]);
});

test("after a loss the list stays until the next snapshot, which replaces all of it", async (t) => {
  const seenLoss = Promise.withResolvers();
  const server = await serve({
    stream: async (request, response, number) => {
      response.begin(connected());
      if (number === 1) return response.write(snapshot(summary("a", 9)), () => response.destroy());
      await seenLoss.promise;
      response.write(snapshot(summary("b", 1)));
    },
  });
  const { subscription, connections, ids } = list(server.baseUrl);
  t.after(() => subscription.close());
  await eventually(() => connections.includes("reconnecting"));
  assert.equal(ids(), "a");
  seenLoss.resolve();
  await eventually(() => ids() === "b");
  assert.equal(subscription.connection, "live");
  assert.equal(server.asked.streams[1].headers["last-event-id"], undefined);
});

test("where no stream can be had the list is polled, and no tag hides what a stream has changed", async (t) => {
  let open = false;
  let last;
  const server = await serve({
    stream: (request, response) => {
      response.begin(open ? connected() + snapshot(summary("b", 2)) : "");
      last = response;
    },
    poll: ({ headers }) =>
      headers["if-none-match"] ? null : { executions: [summary("a", 1)], next: null },
  });
  const { subscription, connections, ids } = list(server.baseUrl, {
    timing: { connectedWithinMs: 50, pollEveryMs: 10, probeEveryMs: 100 },
  });
  t.after(() => subscription.close());
  await eventually(() => subscription.connection === "polling" && ids() === "a");
  await eventually(() => server.asked.polls.length > 3);
  const [first, second] = server.asked.polls;
  assert.equal(first.url, "/api/v1/organizations/acme/executions");
  assert.equal(second.headers["if-none-match"], '"1"');
  open = true;
  await eventually(() => subscription.connection === "live" && ids() === "b");
  open = false;
  last.destroy();
  await eventually(() => subscription.connection === "polling" && ids() === "a");
  assert.deepEqual([...new Set(connections)], ["reconnecting", "polling", "live"]);
});

test("a refused list is closed, and says why; a token is replaced once before that", async () => {
  for (const [status, code] of [
    [400, "malformed_status"],
    [403, "organization_forbidden"],
    [404, "lists_unavailable"],
  ]) {
    const server = await serve({ stream: (_, response) => refuse(response, status, code) });
    const tokens = [];
    const { subscription } = list(server.baseUrl, {
      getToken: ({ fresh }) => `token ${tokens.push(fresh)}`,
    });
    await subscription.finished;
    assert.equal(subscription.connection, "closed");
    assert.equal(subscription.error.code, code);
    assert.equal(subscription.executions, null);
    assert.deepEqual(tokens, status === 400 ? [false] : [false, true]);
  }
});

test("an expiring token is replaced while the page shows it as live, by another stream", async (t) => {
  let number = 0;
  const server = await serve({
    stream: (request, response) => {
      number += 1;
      assert.equal(request.headers.authorization, `Bearer token ${number}`);
      response.begin(connected() + snapshot(summary(`run ${number}`, 1)));
      if (number === 1) response.write(frame("stream:expiring", { expires_in: 1 }));
    },
  });
  let given = 0;
  const { subscription, connections, ids } = list(server.baseUrl, {
    getToken: () => `token ${++given}`,
  });
  t.after(() => subscription.close());
  await eventually(() => ids() === "run 2");
  assert.deepEqual([...new Set(connections)], ["live"]);
});

test("what is missing is said at once", () => {
  const given = { baseUrl: "http://127.0.0.1:1", token: "t" };
  assert.throws(() => subscribeToExecutions(given), /organizationId, or executionIds/);
  assert.throws(() => subscribeToExecutions({ ...given, token: "" }), /needs getToken/);
  assert.throws(() => subscribeToExecutions({ ...given, executionIds: [] }), /needs the id/);
});
