// Why it is not live, what is tried again, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import { StreamError, Unauthorized } from "../../gateway/client/index.js";
import { follow } from "./follower.mjs";
import { connected, eventually, frame, happened, refuse, serve } from "./server.mjs";

const END = happened("5-9", "execution:completed");
const ending = (response) => response.begin(connected()) ?? response.end(END);
const closing = (reason, ms) => frame("stream:closing", { reason, retry_ms: ms }, `retry: ${ms}\n`);
const expiring = (seconds, more) => {
  const payload = JSON.stringify({ exp: Date.now() / 1000 + seconds, ...more });
  return `x.${Buffer.from(payload).toString("base64url")}.y`;
};

test("an error has a code, the gateway's reason and whether it is tried again; it is null while live", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) response.begin(connected()) ?? response.end(closing("drain", 20));
      else if (number === 2) response.destroy();
      else if (number === 3) refuse(response, 503, "unavailable", { "Retry-After": "0.01" });
      else server.last = response.begin(connected()) ?? response;
    },
  });
  const { subscription, errors } = follow(server.baseUrl);
  await eventually(() => server.last && subscription.connection === "live");
  assert.equal(subscription.error, null);
  const words = errors.map(({ code, reason, retryable }) => [code, reason, retryable].join());
  assert.deepEqual(
    [...new Set(words)],
    ["closed,drain,true", "network,,true", "unavailable,,true"],
  );
  assert.ok(errors.every((error) => error instanceof StreamError && error.message));
  server.last.end(END);
  await subscription.finished;
  assert.equal(subscription.error, null);
});

test("a token that has expired is renewed: no status is reconnecting, and no error is shown", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number > 1) return ending(response);
      response.begin(connected()) ?? response.end(closing("token_expired", 20));
    },
  });
  const { subscription, statuses, errors } = follow(server.baseUrl);
  await subscription.finished;
  assert.deepEqual([statuses, errors], [["live", "completed"], []]);
});

test("a renewal that finds no gateway is a lost connection", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number > 1) return refuse(response, 503, "unavailable");
      response.begin(connected()) ?? response.end(closing("token_expired", 60_000));
    },
  });
  const { subscription, statuses } = follow(server.baseUrl);
  await eventually(() => subscription.connection === "reconnecting");
  assert.deepEqual([statuses, subscription.error.code], [["live", "reconnecting"], "unavailable"]);
  subscription.close();
});

test("tryAgain tries at once: while it waits, and while a try hangs", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) response.begin(closing("drain", 60_000)) ?? response.end();
      else if (number === 3) ending(response);
    },
  });
  const { subscription } = follow(server.baseUrl);
  await eventually(() => subscription.nextTryAt !== null);
  subscription.tryAgain();
  await eventually(() => server.asked.streams.length === 2);
  assert.equal(subscription.nextTryAt, null);
  subscription.tryAgain();
  await subscription.finished;
  assert.equal(subscription.status, "completed");
});

test("tryAgain leaves an open stream alone", async () => {
  const server = await serve({
    stream: (request, response) => (server.last = response.begin(connected()) ?? response),
  });
  const { subscription, statuses } = follow(server.baseUrl);
  await eventually(() => subscription.connection === "live");
  subscription.tryAgain();
  server.last.end(END);
  await subscription.finished;
  assert.deepEqual([server.asked.streams.length, statuses], [1, ["live", "completed"]]);
});

test("when a poll is answered after an outage, the stream is tried at once", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) response.begin(frame("heartbeat", {}, "retry: 20\n"));
      else if (number === 2) refuse(response, 503, "unavailable", { "Retry-After": "60" });
      else if (number === 3) ending(response);
    },
    poll: () => (server.asked.streams.length < 2 ? 500 : { status: "running", events: [] }),
  });
  const timing = { connectedWithinMs: 500, pollEveryMs: 20 };
  const { subscription } = follow(server.baseUrl, { timing });
  await subscription.finished;
  assert.equal(subscription.status, "completed");
});

test("getToken that throws Unauthorized ends it: at first, for a refused token, and for a poll's", async () => {
  const refusing = (request, response) => refuse(response, 401, "token_revoked");
  for (const [stream, poll, calls] of [
    [refusing, () => 500, 1],
    [refusing, () => 500, 2],
    [() => {}, () => 401, 2],
  ]) {
    const server = await serve({ stream, poll });
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      if (asked === calls) throw new Unauthorized("Signed out.");
      return "token";
    };
    const timing = { connectedWithinMs: 30, pollEveryMs: 10 };
    const { subscription } = follow(server.baseUrl, { getToken, timing });
    await assert.rejects(async () => {
      for await (const _ of subscription);
    }, Unauthorized);
    const { code, message, retryable } = subscription.error;
    assert.deepEqual([code, message, retryable], ["unauthorized", "Signed out.", false]);
    assert.deepEqual([asked, subscription.status], [calls, "closed"]);
  }
});

test("after any other error of getToken it waits and asks again, and polls do not ask meanwhile", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number > 1) return ending(response);
      response.begin(frame("heartbeat", {}, "retry: 100\n"));
    },
    poll: () => ({ status: "running", events: [] }),
  });
  const asked = [];
  const polls = [];
  const getToken = () => {
    asked.push(Date.now());
    polls.push(server.asked.polls.length);
    // A poll's call, and the next stream's.
    if ([2, 3].includes(asked.length)) throw new TypeError("offline");
    // Too short to be used twice.
    return expiring(asked.length === 1 ? 5 : 600);
  };
  const timing = { connectedWithinMs: 50, pollEveryMs: 20 };
  const { subscription, errors } = follow(server.baseUrl, { getToken, timing });
  await subscription.finished;
  assert.equal(asked.length, 4);
  // The backoff's waits: a poll would have asked after 20 ms.
  assert.ok(asked[2] - asked[1] >= 80 && asked[3] - asked[2] >= 80, asked.join());
  assert.deepEqual(polls, [0, 0, 0, 0]);
  const { code, cause } = errors.find(({ code }) => code === "token");
  assert.deepEqual([code, cause.message], ["token", "offline"]);
});

test("a token that comes later: it is connecting until then, and tryAgain starts at once", async () => {
  const server = await serve({ stream: (request, response) => ending(response) });
  let token = "";
  const { subscription, statuses } = follow(server.baseUrl, { getToken: () => token });
  await eventually(() => subscription.nextTryAt !== null);
  assert.deepEqual([subscription.status, subscription.error.code], ["connecting", "no_token"]);
  const began = Date.now();
  token = "token";
  subscription.tryAgain();
  await subscription.finished;
  assert.ok(Date.now() - began < 900, "it waited");
  assert.deepEqual(statuses, ["connecting", "completed"]);
});
