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
  state.addPolled([event("5-2"), event("5-3"), event("5-4")]);
  assert.deepEqual(ids(state), ["5-1", "5-2", "5-3", "5-4"]);
  assert.equal(state.lastEventId, "5-4");
});

test("an event without an id always counts as new", () => {
  const state = make();
  for (let n = 0; n < 2; n += 1) state.add({ type: "log:line", data: {} });
  assert.equal(state.events.length, 2);
});

test("a poll that begins too late shows a gap, one of another epoch shows a reset", () => {
  const state = make();
  state.add(event("5-2"));
  state.addPolled([event("5-5"), event("5-6")]);
  assert.deepEqual(state.events[1], { type: "stream:gap", from: "5-3", to: "5-4", missed: 2 });
  state.addPolled([event("4-1"), event("4-2")]);
  assert.deepEqual(ids(state).slice(-3), ["stream:reset", "4-1", "4-2"]);
  assert.deepEqual(
    state.run.events.map((one) => one.id),
    ["4-1", "4-2"],
  );
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
