import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { SseParser } from "../../gateway/client/sse.js";

const VECTORS = readFileSync(new URL("../events/vectors/streams.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line));

/** What the parser makes of `bytes` in pieces of `size`, decoded as the client does it. */
function messagesOf(bytes, size) {
  const decoder = new TextDecoder();
  const parser = new SseParser();
  const messages = [];
  for (let from = 0; from < bytes.length; from += size) {
    const text = decoder.decode(bytes.subarray(from, from + size), { stream: true });
    messages.push(...parser.push(text));
  }
  return messages;
}

/** The messages, each with the id that an EventSource has then, and the last `retry:`. */
function asABrowserSees(messages) {
  let lastEventId = "";
  let retry = null;
  const seen = [];
  for (const message of messages) {
    lastEventId = message.id ?? lastEventId;
    retry = message.retry ?? retry;
    const { event, data } = message;
    if (event) seen.push({ event, data, lastEventId });
  }
  return { messages: seen, retry };
}

test("every rule of the standard, wherever a stream is cut", () => {
  assert.ok(VECTORS.length > 30);
  for (const { case: name, stream, ...expected } of VECTORS) {
    const bytes = new TextEncoder().encode(stream);
    for (const size of [1, 2, 3, 7, 1000]) {
      assert.deepEqual(asABrowserSees(messagesOf(bytes, size)), expected, name);
    }
  }
});

test("an event whose empty line is a CR is there at once", () => {
  const parser = new SseParser();
  assert.equal(parser.push("data: a\r\r").length, 1);
  assert.deepEqual(parser.push("\n"), []);
  assert.deepEqual(parser.push(""), []);
  assert.deepEqual(parser.push("data: b\n"), []);
  assert.equal(parser.push("\n").length, 1);
});

test("8 MiB in pieces of 1,400 bytes take no minutes", () => {
  const bytes = new TextEncoder().encode(`data: ${"x".repeat(8 * 1024 * 1024)}\n\n`);
  const began = process.cpuUsage();
  const [message] = messagesOf(bytes, 1400);
  const { user } = process.cpuUsage(began);
  assert.equal(message.data.length, 8 * 1024 * 1024);
  assert.ok(user < 3_000_000, `${user} µs`);
});
