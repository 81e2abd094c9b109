// The same vectors as the gateway's own endings: tests/events/vectors/endings.jsonl.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { endingStatus } from "../../gateway/client/ending.js";

test("every ending has its status", () => {
  const lines = readFileSync(new URL("../events/vectors/endings.jsonl", import.meta.url), "utf8");
  const vectors = lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.ok(vectors.length > 50, "the vectors have moved");
  for (const { name, type, data, terminal_types: types, trimmed, status } of vectors) {
    assert.equal(endingStatus(type, data, types, trimmed), status, name);
  }
});
