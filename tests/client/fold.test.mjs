// The same vectors as the gateway's own fold: tests/events/vectors.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { fold } from "../../gateway/client/index.js";

const VECTORS = new URL("../events/vectors/", import.meta.url);
const names = readdirSync(VECTORS).filter((name) => name.endsWith(".json"));
assert.ok(names.length > 15, "the vectors have moved");

for (const name of names) {
  test(`${name} folds to its document`, () => {
    const vector = JSON.parse(readFileSync(new URL(name, VECTORS)));
    const document = fold(vector.events, {
      executionId: vector.execution_id,
      workflowId: vector.workflow_id,
      terminalTypes: vector.terminal_types,
    });
    assert.deepEqual(document, { ...vector.expected, events: vector.events });
    assert.deepEqual(Object.keys(document).slice(0, -1), Object.keys(vector.expected));
  });
}

test("the fold takes any JSON value as an event", () => {
  for (const nonsense of [
    null,
    7,
    "x",
    [],
    [[]],
    {},
    { type: {} },
    { type: "step:completed", data: 1 },
  ]) {
    assert.equal(fold([nonsense]).events.length, 1);
  }
});
