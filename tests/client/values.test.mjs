// Every member of an event may be any JSON value.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fold } from "../../gateway/client/index.js";
import { endingStatus } from "../../gateway/client/ending.js";
import { refusalOf } from "../../gateway/client/errors.js";
import { legacyEvents, legacyState } from "../../gateway/client/legacy.js";
import { RunState } from "../../gateway/client/run_state.js";
import { ageSince, clock, lasted, moment, shown } from "../../gateway/page/dom.js";

const deep = (depth) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
const VALUES = [
  "null",
  "true",
  "0",
  "-1.5",
  "1e300",
  "[]",
  "[[]]",
  "{}",
  '{"toString":null}',
  '{"valueOf":1,"toString":2}',
  '{"__proto__":null}',
  '{"__proto__":{"toString":null}}',
  '[{"toString":null}]',
  '{"toJSON":1}',
  '""',
  '{"length":-1}',
  '"\\u0000\\ud800"',
  '"0001-01-01T00:00:00Z"',
  '"9999-12-31T23:59:59.999999999+23:59"',
  JSON.stringify("x".repeat(2 ** 20)),
  deep(1000),
];
const MEMBERS = [
  "node_id",
  "node_type",
  "position",
  "status",
  "started_at",
  "completed_at",
  "duration_ms",
  "output",
  "error",
  "error_message",
  "reason",
  "waiting_for",
  "execution_time_ms",
  "generated_document_id",
  "toString",
  "__proto__",
];
const TYPES = [
  "step:started",
  "execution:paused",
  "step:failed",
  "step:completed",
  "a:b",
  "execution:failed",
];

// From text, as they come from the network: `__proto__` is then a member like any other.
const eventOf = (type, value) => {
  const members = MEMBERS.map((name) => `${JSON.stringify(name)}:${value}`).join();
  return JSON.parse(`{"type":"${type}","timestamp":${value},"data":{${members}},"more":${value}}`);
};
const NAMES = ["id", "status", "current_node", "error_message", "generated_document_id"];
const isTextOrNull = (value) => value === null || typeof value === "string";

for (const value of VALUES) {
  test(`the run is a run, with ${value.slice(0, 40)} everywhere`, () => {
    const state = new RunState({ executionId: "run-1", workflowId: "-" });
    for (const type of TYPES) {
      state.add(eventOf(type, value));
      state.add(JSON.parse(`{"type":"${type}","data":${value},"timestamp":${value}}`));
    }
    const { run } = state;
    assert.equal(run.status, "failed");
    for (const name of NAMES) assert.ok(isTextOrNull(run[name]), name);
    for (const step of run.execution_logs) {
      for (const name of [
        "node_id",
        "node_type",
        "status",
        "started_at",
        "completed_at",
        "error",
      ]) {
        assert.ok(isTextOrNull(step[name]), name);
      }
    }
    assert.equal(
      legacyEvents(state.events).every(({ data }) => data.type),
      true,
    );
    assert.ok(isTextOrNull(legacyState({ run, status: "failed", error: null }).error));
    assert.deepEqual(fold(state.events, { workflowId: "-", executionId: "run-1" }), run);
  });

  test(`it can be shown as text: ${value.slice(0, 40)}`, () => {
    const parsed = JSON.parse(value);
    const text = shown(parsed);
    assert.equal(typeof text, "string");
    assert.ok(text.length <= 501);
    const isJson = typeof parsed !== "string" && value.length < 500;
    if (isJson) assert.equal(text, JSON.stringify(parsed));
    assert.equal(typeof clock(moment(parsed)), "string");
    assert.equal(typeof lasted(moment(parsed)), "string");
  });
}

const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];
for (const [milliseconds, text] of [
  [0, "0 ms"],
  [99.7, "100 ms"],
  [SECOND * 1.24, "1.2 s"],
  [SECOND * 59.94, "59.9 s"],
  [SECOND * 59.97, "1 min"],
  [SECOND * 119.9, "1 min 59 s"],
  [SECOND * 6515.4, "1 h 48 min"],
  [HOUR, "1 h"],
  [HOUR - 1, "59 min 59 s"],
  [HOUR + MINUTE / 2, "1 h"],
  [2 * DAY + 5 * HOUR + MINUTE, "2 d 5 h"],
]) {
  test(`a duration is shown in its two largest units: ${text}`, () => {
    assert.equal(lasted(milliseconds), text);
  });
}

for (const [milliseconds, text] of [
  [-HOUR, "1 s"],
  [5 * SECOND, "5 s"],
  [HOUR - SECOND, "59 min"],
  [DAY + HOUR, "1 d"],
]) {
  test(`an age is shown in its largest unit: ${text}`, () => {
    assert.equal(ageSince(Date.now() - milliseconds), text);
  });
}

test("a missing value is shown as an empty text", () => assert.equal(shown(undefined), ""));

test("a type that is named like a member of every object has no status of its own", () => {
  for (const word of ["constructor", "__proto__", "toString"]) {
    assert.equal(endingStatus(`job:${word}`, {}), "ended");
    assert.equal(endingStatus(word, {}), "ended");
    const events = [{ type: word }, { type: `job:${word}` }];
    assert.equal(fold(events).status, "running");
    assert.equal(fold(events, { terminalTypes: [word] }).status, "ended");
  }
});

test("a refusal has a code and a message, whatever JSON a proxy answers", async () => {
  for (const value of VALUES) {
    for (const body of [value, `{"error":${value},"message":${value}}`]) {
      const refusal = await refusalOf(new Response(body, { status: 401 }));
      assert.ok(refusal.isAboutAccess);
      assert.equal(typeof refusal.code, "string");
      assert.equal(typeof refusal.message, "string");
    }
  }
});
