import assert from "node:assert/strict";
import { test } from "node:test";

import { SseParser } from "../../gateway/client/sse.js";

const STREAM =
  "\uFEFFretry: 1500\nevent: connected\ndata: {}\n\n: a comment\n\nid: 1-1\r\nevent:a\r\n" +
  "data:one\r\ndata: two\r\n\r\nid: 1-2\revent: b\rdata\r\r\ndata: no name\n\nid: lost\n";
const MESSAGES = [
  { event: "connected", data: "{}", id: undefined, retry: 1500 },
  { event: "a", data: "one\ntwo", id: "1-1", retry: undefined },
  { event: "b", data: "", id: "1-2", retry: undefined },
  { event: "message", data: "no name", id: undefined, retry: undefined },
];

test("a stream has the same messages wherever it is cut", () => {
  assert.deepEqual(new SseParser().push(STREAM), MESSAGES);
  for (let first = 0; first < STREAM.length; first += 1) {
    for (const size of [1, 2, 7]) {
      const parser = new SseParser();
      const seen = parser.push(STREAM.slice(0, first));
      for (let from = first; from < STREAM.length; from += size) {
        seen.push(...parser.push(STREAM.slice(from, from + size)));
      }
      assert.deepEqual(seen, MESSAGES);
    }
  }
});

test("a block without data is no message, and a wrong retry is ignored", () => {
  assert.deepEqual(new SseParser().push("event: a\n\nretry: soon\ndata: x\n\n"), [
    { event: "message", data: "x", id: undefined, retry: undefined },
  ]);
});
