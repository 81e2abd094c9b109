// Every member of an event may be any JSON value, whoever publishes it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fold } from "../../gateway/client/index.js";
import { documentsEvents, documentsWords } from "../../gateway/client/document.js";
import { endingOf } from "../../gateway/client/fold.js";
import { Record } from "../../gateway/client/record.js";
import { refusalOf } from "../../gateway/client/trouble.js";
import { clock, lasted, moment, shown } from "../../gateway/page/dom.js";

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
    const record = new Record({ executionId: "run-1", workflowId: "-" });
    for (const type of TYPES) {
      record.add(eventOf(type, value));
      record.add(JSON.parse(`{"type":"${type}","data":${value},"timestamp":${value}}`));
    }
    const { run } = record;
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
      documentsEvents(record.seen).every(({ data }) => data.type),
      true,
    );
    assert.ok(isTextOrNull(documentsWords({ run, status: "failed", error: null }).error));
    assert.deepEqual(fold(record.seen, { workflowId: "-", executionId: "run-1" }), run);
  });

  test(`it can be shown as text: ${value.slice(0, 40)}`, () => {
    const parsed = JSON.parse(value);
    const words = shown(parsed);
    assert.equal(typeof words, "string");
    assert.ok(words.length <= 501);
    if (typeof parsed !== "string" && value.length < 500)
      assert.equal(words, JSON.stringify(parsed));
    assert.equal(typeof clock(moment(parsed)), "string");
    assert.equal(typeof lasted(moment(parsed)), "string");
  });
}

test("what is missing is no text at all", () => assert.equal(shown(undefined), ""));

test("a type of one's own ends as what it says, whatever every object has", () => {
  for (const word of ["constructor", "__proto__", "toString", "done"]) {
    assert.equal(endingOf(`job:${word}`), "completed");
  }
});

test("a refusal says what it can, whatever JSON a proxy has answered", async () => {
  for (const value of VALUES) {
    for (const body of [value, `{"error":${value},"message":${value}}`]) {
      const refusal = await refusalOf(new Response(body, { status: 401 }));
      assert.ok(refusal.isAboutAccess);
      assert.equal(typeof refusal.code, "string");
      assert.equal(typeof refusal.message, "string");
    }
  }
});
