// How long a subscription waits before it tries again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { follow } from "./follower.mjs";
import { connected, eventually, frame, happened, refuse, serve } from "./server.mjs";

const END = happened("5-9", "execution:completed");
const closing = (ms) =>
  frame("stream:closing", { reason: "drain", retry_ms: ms }, `retry: ${ms}\n`);

/** A browser's window, as far as its events go. */
function withWindow() {
  const window = new EventTarget();
  globalThis.addEventListener = window.addEventListener.bind(window);
  return window;
}

test("a page that became visible while live waits as long as the gateway asks", async (t) => {
  const window = withWindow();
  t.after(() => delete globalThis.addEventListener);
  const begun = [];
  const server = await serve({
    stream: (request, response, number) => {
      begun.push(Date.now());
      response.begin(connected());
      if (number === 1) response.drain = () => response.end(closing(300));
      else response.end(END);
      server.last = response;
    },
  });
  const { subscription } = follow(server.baseUrl);
  await eventually(() => subscription.status === "live");
  window.dispatchEvent(new Event("online"));
  server.last.drain();
  await subscription.finished;
  assert.ok(begun[1] - begun[0] >= 300, `came back after ${begun[1] - begun[0]} ms`);
});

test("so does a page that became visible while it connected", async (t) => {
  const window = withWindow();
  t.after(() => delete globalThis.addEventListener);
  let asked = 0;
  const server = await serve({
    stream: (request, response, number) => {
      if (number > 1) return response.begin(connected()) ?? response.end(END);
      window.dispatchEvent(new Event("online"));
      response.begin(connected());
      asked = Date.now();
      response.end(closing(300));
    },
  });
  const { subscription } = follow(server.baseUrl);
  await subscription.finished;
  assert.ok(Date.now() - asked >= 300);
});

test("a page that becomes visible while it waits for its next try tries at once", async (t) => {
  const window = withWindow();
  t.after(() => delete globalThis.addEventListener);
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(connected());
      response.end(number === 1 ? closing(60_000) : END);
    },
  });
  const { subscription } = follow(server.baseUrl);
  await eventually(() => subscription.status === "reconnecting");
  window.dispatchEvent(new Event("online"));
  await subscription.finished;
  assert.equal(subscription.status, "completed");
});

test("after a network loss of one moment the stream is back at once", async (t) => {
  const window = withWindow();
  t.after(() => delete globalThis.addEventListener);
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(number === 1 ? connected().replace("retry: 20", "retry: 60000") : connected());
      if (number > 1) response.end(END);
    },
  });
  const { subscription } = follow(server.baseUrl);
  await eventually(() => subscription.status === "live");
  window.dispatchEvent(new Event("offline"));
  window.dispatchEvent(new Event("online"));
  await subscription.finished;
  assert.equal(subscription.status, "completed");
});

test("Retry-After counts for one wait, retry for all waits until the next retry", async () => {
  const begun = [];
  const server = await serve({
    stream: (request, response, number) => {
      begun.push(Date.now());
      if (number === 2) return refuse(response, 503, "unavailable", { "Retry-After": "1" });
      if (number === 3) return response.destroy();
      response.begin(connected());
      if (number === 1) response.write(": \n", () => response.destroy());
      else response.end(END);
    },
  });
  await follow(server.baseUrl).subscription.finished;
  assert.ok(begun[2] - begun[1] >= 1000);
  // `retry: 20` of the first stream, three times doubled at most.
  assert.ok(begun[3] - begun[2] < 800, `came back after ${begun[3] - begun[2]} ms`);
});

test("a retry without an event counts too", async () => {
  const begun = [];
  const server = await serve({
    stream: (request, response, number) => {
      begun.push(Date.now());
      response.begin(connected());
      if (number === 1) response.write("retry: 400\n\n", () => response.destroy());
      else response.end(END);
    },
  });
  await follow(server.baseUrl).subscription.finished;
  assert.ok(begun[1] - begun[0] >= 400, `came back after ${begun[1] - begun[0]} ms`);
});

test("getToken is called once at a time, for the stream and the polls together", async () => {
  const server = await serve({
    stream: () => {},
    poll: () => ({ status: "running", events: [] }),
  });
  let [calls, underWay, most] = [0, 0, 0];
  const getToken = async () => {
    most = Math.max(most, (underWay += 1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    underWay -= 1;
    // Too short to be used twice: the poll and the next stream ask again.
    const exp = Date.now() / 1000 + 5;
    return `x.${Buffer.from(JSON.stringify({ exp, n: (calls += 1) })).toString("base64url")}.y`;
  };
  const timing = { connectedWithinMs: 50, pollEveryMs: 20, probeEveryMs: 20 };
  const { subscription } = follow(server.baseUrl, { getToken, timing });
  await eventually(() => server.asked.streams.length >= 8);
  subscription.close();
  assert.equal(most, 1);
});

test("close does not wait for a getToken that never answers", async () => {
  const { subscription } = follow("http://127.0.0.1:1", { getToken: () => new Promise(() => {}) });
  setTimeout(() => subscription.close(), 20);
  await subscription.finished;
  assert.equal(subscription.status, "closed");
});

test("a browser that cannot decode a stream uses EventSource with a ticket", async (t) => {
  const { TextDecoderStream } = globalThis;
  delete globalThis.TextDecoderStream;
  t.after(() => (globalThis.TextDecoderStream = TextDecoderStream));
  const server = await serve({ stream: () => assert.fail("no stream without a ticket") });
  const { subscription } = follow(server.baseUrl);
  await eventually(() => server.asked.tickets > 0);
  subscription.close();
  await subscription.finished;
});
