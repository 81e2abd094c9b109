import assert from "node:assert/strict";
import { test } from "node:test";

import { RunState } from "../../gateway/client/run_state.js";

const event = (id, type = "step:started") => ({
  id,
  type,
  data: {},
  timestamp: "2026-03-02T08:00:00Z",
});
const ids = (state) => state.events.map((one) => one.id ?? one.type);
const make = (more) => new RunState({ executionId: "run-1", workflowId: "-", ...more });

test("each event counts once, from a stream and from a poll", () => {
  const state = make();
  for (const id of ["5-1", "5-2", "5-2", "5-1", "5-3"]) state.add(event(id));
  state.addPolled({ events: [event("5-2"), event("5-3"), event("5-4")] });
  assert.deepEqual(ids(state), ["5-1", "5-2", "5-3", "5-4"]);
  assert.equal(state.lastEventId, "5-4");
});

test("an event without an id always counts as new", () => {
  const state = make();
  for (let n = 0; n < 2; n += 1) state.add({ type: "log:line", data: {} });
  assert.equal(state.events.length, 2);
});

test("of a gateway that says nothing about the cursor: a poll that begins too late shows a gap, one of another epoch a reset", () => {
  const state = make();
  state.add(event("5-2"));
  state.addPolled({ events: [event("5-5"), event("5-6")] });
  assert.deepEqual(state.events[1], { type: "stream:gap", from: "5-3", to: "5-4", missed: 2 });
  state.addPolled({ events: [event("4-1"), event("4-2")] });
  assert.deepEqual(ids(state).slice(-3), ["stream:reset", "4-1", "4-2"]);
  assert.deepEqual(
    state.run.events.map((one) => one.id),
    ["4-1", "4-2"],
  );
});

test("a poll shows what a stream would: nothing lost, a gap, or a new run", () => {
  const polled = (page) => {
    const state = make();
    for (const id of ["5-1", "5-2"]) state.add(event(id));
    state.addPolled(page);
    return [ids(state).slice(2), state.run.events.length, state.run.status];
  };
  const next = [event("6-1")];
  assert.deepEqual(polled({ cursor: "valid", events: next }), [["6-1"], 3, "running"]);
  const late = { cursor: "gap", events: [event("5-5")] };
  assert.deepEqual(polled(late), [["stream:gap", "5-5"], 3, "running"]);
  const again = { cursor: "reset", reset_reason: "restarted", events: [event("6-2")] };
  assert.deepEqual(polled(again), [["stream:reset", "stream:gap", "6-2"], 1, "running"]);
  const gone = { cursor: "gap", events: [], last_event_id: "5-9", status: "failed" };
  assert.deepEqual(polled(gone), [["stream:gap"], 2, "failed"]);
  assert.deepEqual(polled({ cursor: "reset", events: [] }), [["stream:reset"], 0, "unknown"]);
});

test("a history that expired before its end: what the document knows, and the steps that were seen", () => {
  const state = make();
  state.add({ ...event("5-1"), data: { node_id: "n1" } });
  const times = { started_at: "2026-03-02T07:00:00Z", completed_at: "2026-03-02T09:00:00Z" };
  const document = { status: "failed", ...times, last_event_id: "5-9", events_missing: 9 };
  state.takeOver(document);
  const { execution_logs: steps, ...run } = state.run;
  assert.deepEqual([run.status, run.completed_at], ["failed", times.completed_at]);
  assert.deepEqual([run.complete, run.events_missing], [false, 8]);
  assert.deepEqual(
    steps.map(({ node_id, status }) => [node_id, status]),
    [["n1", "interrupted"]],
  );
  const late = make();
  late.takeOver(document);
  assert.deepEqual([late.run.started_at, late.run.events_missing], [times.started_at, 9]);
  const seen = make({ lastEventId: "5-9" });
  seen.addPolled({ ...document, cursor: "valid", events_missing: 0, events: [] });
  assert.deepEqual([seen.run.complete, seen.run.status], [false, "failed"]);
});

test("the first terminal event is the end", () => {
  const state = make();
  state.add(event("5-1", "execution:failed"));
  state.add(event("5-2", "execution:completed"));
  assert.equal(state.ending, "failed");
});

test("a run that begins again has no end, and none of the former steps", () => {
  const state = make();
  state.add(event("5-1", "execution:failed"));
  state.reset({ reason: "restarted" });
  state.add(event("6-1", "execution:restarted"));
  assert.equal(state.ending, null);
  assert.deepEqual(
    state.run.events.map((one) => one.id),
    ["6-1"],
  );
});

test("the run is the same object until something changes", () => {
  const state = make();
  state.add(event("5-1"));
  const { run } = state;
  state.add(event("5-1"));
  assert.equal(state.run, run);
  state.add(event("5-2"));
  assert.notEqual(state.run, run);
});
