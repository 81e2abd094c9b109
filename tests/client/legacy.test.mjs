import assert from "node:assert/strict";
import { test } from "node:test";

import { fold } from "../../gateway/client/index.js";
import { legacyEvents, legacyState } from "../../gateway/client/legacy.js";

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
