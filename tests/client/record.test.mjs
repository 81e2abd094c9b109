import assert from "node:assert/strict";
import { test } from "node:test";

import { Record } from "../../gateway/client/record.js";

const event = (id, type = "step:started") => ({
  id,
  type,
  data: {},
  timestamp: "2026-03-02T08:00:00Z",
});
const ids = (record) => record.seen.map((one) => one.id ?? one.type);
const make = (more) => new Record({ executionId: "run-1", workflowId: "-", ...more });

test("each event counts once, whoever brings it", () => {
  const record = make();
  for (const id of ["5-1", "5-2", "5-2", "5-1", "5-3"]) record.add(event(id));
  record.addPolled([event("5-2"), event("5-3"), event("5-4")]);
  assert.deepEqual(ids(record), ["5-1", "5-2", "5-3", "5-4"]);
  assert.equal(record.lastEventId, "5-4");
});

test("an event without an id is never taken for one that was seen", () => {
  const record = make();
  for (let n = 0; n < 2; n += 1) record.add({ type: "log:line", data: {} });
  assert.equal(record.seen.length, 2);
});

test("a poll that begins later than it should tells of a gap, one of another life of a reset", () => {
  const record = make();
  record.add(event("5-2"));
  record.addPolled([event("5-5"), event("5-6")]);
  assert.deepEqual(record.seen[1], { type: "stream:gap", from: "5-3", to: "5-4", missed: 2 });
  record.addPolled([event("4-1"), event("4-2")]);
  assert.deepEqual(ids(record).slice(-3), ["stream:reset", "4-1", "4-2"]);
  assert.deepEqual(
    record.run.events.map((one) => one.id),
    ["4-1", "4-2"],
  );
});

test("the first terminal event is the end", () => {
  const record = make();
  record.add(event("5-1", "execution:failed"));
  record.add(event("5-2", "execution:completed"));
  assert.equal(record.ending, "failed");
});

test("the run is the same object until something changes", () => {
  const record = make();
  record.add(event("5-1"));
  const { run } = record;
  record.add(event("5-1"));
  assert.equal(record.run, run);
  record.add(event("5-2"));
  assert.notEqual(record.run, run);
});
