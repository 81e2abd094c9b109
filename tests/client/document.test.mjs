import assert from "node:assert/strict";
import { test } from "node:test";

import { documentsEvents, documentsWords } from "../../gateway/client/document.js";
import { fold } from "../../gateway/client/index.js";

const envelope = (number, type = "step:started") => ({
  id: `5-${number}`,
  type,
  data: { node_type: "signature" },
  timestamp: "2026-01-01T00:00:00Z",
});

test("every event that a page of the document sees has data.data, gaps and oddities are left out", () => {
  const own = envelope(3, "own:type");
  const gap = { type: "stream:gap", from: "5-1", to: "5-2", missed: 2 };
  const odd = [
    { id: "5-4", type: "own:odd" },
    { ...envelope(5), data: null },
  ];
  assert.deepEqual(documentsEvents([gap, own, ...odd]), [
    { type: "own:type", data: own, timestamp: own.timestamp },
  ]);
});

test("what came before the last reset is forgotten", () => {
  const reset = { type: "stream:reset", reason: "history_lost" };
  const [first, second, third] = [1, 2, 3].map((number) => envelope(number));
  const shown = documentsEvents([first, reset, second, reset, third]);
  assert.deepEqual(
    shown.map(({ data }) => data),
    [third],
  );
  assert.deepEqual(documentsEvents([first, reset]), []);
});

test("the document's words: an error only where it is over, and never an empty one", () => {
  const error = new Error("The network is gone.");
  const words = (status, run = null) => Object.values(documentsWords({ run, status, error }));
  for (const status of ["connecting", "reconnecting"]) {
    assert.deepEqual(words(status), ["connecting", null]);
  }
  for (const status of ["live", "catching-up", "polling", "paused"]) {
    assert.deepEqual(words(status), ["connected", null]);
  }
  assert.deepEqual(words("completed"), ["completed", null]);
  assert.deepEqual(words("closed"), ["disconnected", "The network is gone."]);
  const failed = envelope(9, "execution:failed");
  assert.deepEqual(words("failed", fold([failed])), ["failed", "failed"]);
  failed.data.error_message = "Nothing was signed";
  assert.deepEqual(words("failed", fold([failed])), ["failed", "Nothing was signed"]);
});
