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

/** `document` with only what `expected` has, at any depth; lists keep their length. */
function part(document, expected) {
  if (Array.isArray(document) && Array.isArray(expected)) {
    return document.map((one, n) => part(one, expected[n]));
  }
  if (!(document instanceof Object) || !(expected instanceof Object)) return document;
  return Object.fromEntries(
    Object.keys(expected).map((name) => [name, part(document[name], expected[name])]),
  );
}

/** `type` or `type=status`, as the gateway's setting has them. */
const typesIn = (setting) =>
  Object.fromEntries(setting.split(",").map((word) => /^(.*?)(?:=(\w+))?$/.exec(word).slice(1)));

for (const line of readFileSync(new URL("runs.jsonl", VECTORS), "utf8").trim().split("\n")) {
  const { name, events, expect, settings } = JSON.parse(line);
  test(`a run: ${name}`, () => {
    const setting = settings?.GATEWAY_TERMINAL_TYPES;
    const terminalTypes = setting === undefined ? undefined : typesIn(setting);
    assert.deepEqual(part(fold(events, { terminalTypes }), expect), expect);
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
