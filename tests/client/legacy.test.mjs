import assert from "node:assert/strict";
import { test } from "node:test";

import { fold, subscribeToExecution } from "../../gateway/client/index.js";
import { legacyEvents, legacyState } from "../../gateway/client/legacy.js";
import { connected, happened, refuse, serve } from "./server.mjs";

const envelope = (number, type = "step:started") => ({
  id: `5-${number}`,
  type,
  data: { node_type: "signature" },
  timestamp: "2026-01-01T00:00:00Z",
});

test("every event of the legacy API has data.data; notices and other values are left out", () => {
  const own = envelope(3, "own:type");
  const gap = { type: "stream:gap", from: "5-1", to: "5-2", missed: 2 };
  const odd = [
    { id: "5-4", type: "own:odd" },
    { ...envelope(5), data: null },
  ];
  assert.deepEqual(legacyEvents([gap, own, ...odd]), [
    { type: "own:type", data: own, timestamp: own.timestamp },
  ]);
});

test("what came before the last reset is forgotten", () => {
  const reset = { type: "stream:reset", reason: "history_lost" };
  const [first, second, third] = [1, 2, 3].map((number) => envelope(number));
  const shown = legacyEvents([first, reset, second, reset, third]);
  assert.deepEqual(
    shown.map(({ data }) => data),
    [third],
  );
  assert.deepEqual(legacyEvents([first, reset]), []);
});

test("the legacy status: an error only where it is over, and never an empty one", () => {
  const error = new Error("The network is gone.");
  const state = (status, run = null) => Object.values(legacyState({ run, status, error }));
  for (const status of ["connecting", "reconnecting"]) {
    assert.deepEqual(state(status), ["connecting", null]);
  }
  for (const status of ["live", "catching-up", "polling", "paused"]) {
    assert.deepEqual(state(status), ["connected", null]);
  }
  assert.deepEqual(state("completed"), ["completed", null]);
  assert.deepEqual(state("closed"), ["disconnected", "The network is gone."]);
  const failed = envelope(9, "execution:failed");
  assert.deepEqual(state("failed", fold([failed])), ["failed", "failed"]);
  failed.data.error_message = "Nothing was signed";
  assert.deepEqual(state("failed", fold([failed])), ["failed", "Nothing was signed"]);
});

test("what the legacy API returns has the form of an EventSource, and outlives a restart", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) response.begin(connected() + happened("5-1")) ?? response.end();
      else if (number === 2) response.destroy();
      else response.begin(connected()) ?? response.end(happened("5-2", "execution:failed"));
    },
  });
  // The body of the front-end document's function, which closes at every error.
  const eventSource = subscribeToExecution("run-1", "token", "acme", server);
  const seen = [];
  for (const type of ["connected", "step:started", "execution:failed"]) {
    eventSource.addEventListener(type, (event) => {
      seen.push([event.type, event.lastEventId, JSON.parse(event.data)]);
    });
  }
  const unused = () => assert.fail("it was removed");
  eventSource.addEventListener("step:started", unused);
  eventSource.removeEventListener("step:started", unused);
  eventSource.onerror = () => eventSource.close() ?? seen.push("error");
  await eventSource.finished;
  const [first, started, failed] = seen;
  assert.deepEqual(first, ["connected", "", { execution_id: "run-1" }]);
  assert.deepEqual([started[1], started[2].data.node_id], ["5-1", "5-1"]);
  assert.deepEqual([failed[0], failed[1], seen.length], ["execution:failed", "5-2", 3]);
});

test("of an EventSource's form too: a refusal is its error", async () => {
  const server = await serve({ stream: (request, response) => refuse(response, 401, "no") });
  const eventSource = subscribeToExecution("run-1", "token", "acme", server);
  const errors = [];
  eventSource.onerror = (event) => errors.push(event.type);
  await eventSource.finished;
  assert.deepEqual(errors, ["error"]);
});
