import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused } from "../../gateway/client/index.js";
import { follow } from "./follower.mjs";
import { connected, frame, happened, refuse, serve } from "./server.mjs";

const END = happened("5-9", "execution:completed");

test("a refused token is replaced once; a second refusal is final", async () => {
  for (const status of [401, 403, 404]) {
    const server = await serve({ stream: (request, response) => refuse(response, status, "no") });
    const asked = [];
    const { subscription } = follow(server.baseUrl, {
      getToken: ({ fresh }) => `token-${asked.push(fresh)}`,
    });
    await subscription.finished;
    assert.deepEqual(asked, [false, true]);
    assert.equal(server.asked.streams[1].headers.authorization, "Bearer token-2");
    assert.equal(subscription.status, "closed");
    assert.ok(subscription.error instanceof Refused);
    assert.equal(subscription.error.status, status);
  }
});

test("a token that the polls were refused for is replaced once too, while a proxy holds the stream back", async () => {
  const timing = { connectedWithinMs: 30, pollEveryMs: 10 };
  for (const status of [401, 403, 404]) {
    const server = await serve({ stream: () => {}, poll: () => status });
    const asked = [];
    const { subscription } = follow(server.baseUrl, {
      timing,
      getToken: ({ fresh }) => `token-${asked.push(fresh)}`,
    });
    await subscription.finished;
    assert.deepEqual(asked, [false, true]);
    assert.equal(server.asked.polls.at(-1).headers.authorization, "Bearer token-2");
    assert.equal(subscription.status, "closed");
    assert.equal(subscription.error.status, status);
  }
});

test("polls continue with a fresh token, each time that they need one", async () => {
  const good = new Set();
  const poll = ({ headers: { authorization } }, number) => {
    if (number === 4) good.clear();
    if (!good.has(authorization)) return 401;
    return { status: number < 8 ? "running" : "completed", events: [] };
  };
  const server = await serve({ stream: () => {}, poll });
  let count = 0;
  const getToken = ({ fresh }) => {
    const token = `token-${(count += 1)}`;
    if (fresh) good.add(`Bearer ${token}`);
    return token;
  };
  const timing = { connectedWithinMs: 30, pollEveryMs: 10 };
  const { subscription } = follow(server.baseUrl, { timing, getToken });
  await subscription.finished;
  assert.equal(subscription.status, "completed");
  assert.equal(count, 3);
});

test("a token that expires at once is replaced no more often than others", async () => {
  const server = await serve({ stream: (request, response) => refuse(response, 401, "no") });
  let count = 0;
  const getToken = () => {
    const payload = JSON.stringify({ exp: Date.now() / 1000 + 5, n: (count += 1) });
    return `x.${Buffer.from(payload).toString("base64url")}.y`;
  };
  const { subscription } = follow(server.baseUrl, { getToken });
  await subscription.finished;
  assert.equal(subscription.error.status, 401);
  assert.ok(count <= 3, `${count} calls`);
});

test("a stream and a poll that are refused at the same time share one fresh token", async () => {
  const isGood = ({ headers }) => headers.authorization === "Bearer fresh";
  const server = await serve({
    stream: (request, response, number) => {
      if (isGood(request)) response.begin(connected()) ?? response.end(END);
      // The first one gets no answer.
      else if (number > 1) setTimeout(() => refuse(response, 401, "no"), 20);
    },
    poll: (request) =>
      isGood(request) || server.asked.streams.length < 2 ? { status: "running", events: [] } : 401,
  });
  const asked = [];
  const getToken = async ({ fresh }) => {
    asked.push(fresh);
    await new Promise((resolve) => setTimeout(resolve, fresh ? 200 : 0));
    return fresh ? "fresh" : "stale";
  };
  const timing = { connectedWithinMs: 50, pollEveryMs: 10, probeEveryMs: 10 };
  const { subscription } = follow(server.baseUrl, { getToken, timing });
  await subscription.finished;
  assert.equal(subscription.status, "completed");
  assert.deepEqual(asked, [false, true]);
});

test("the stream continues with a fresh token", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) refuse(response, 401, "token_expired");
      else response.begin(connected()) ?? response.end(END);
    },
  });
  const { subscription } = follow(server.baseUrl);
  await subscription.finished;
  assert.equal(subscription.status, "completed");
});

test("after any other refusal it tries again", async () => {
  for (const status of [405, 429, 500, 502]) {
    const server = await serve({
      stream: (request, response, number) => {
        if (number === 1) refuse(response, status, "no", { "Retry-After": "0.01" });
        else response.begin(connected()) ?? response.end(END);
      },
    });
    const { subscription } = follow(server.baseUrl);
    await subscription.finished;
    assert.equal(subscription.status, "completed");
  }
});

test("a malformed request (400) is final, with its code, also where only polls are answered", async () => {
  for (const stream of [(request, response) => refuse(response, 400, "bad_id"), () => {}]) {
    const server = await serve({ stream, poll: () => 400 });
    const { subscription } = follow(server.baseUrl, { timing: { connectedWithinMs: 30 } });
    await subscription.finished;
    const { code, status, retryable } = subscription.error;
    const expected = server.asked.polls.length ? "no" : "bad_id";
    assert.deepEqual([code, status, retryable], [expected, 400, false]);
    assert.equal(server.asked.streams.length, 1);
  }
});

test("after a passing refusal it waits as long as the gateway asks", async () => {
  const closing = frame("stream:closing", { reason: "limit", retry_ms: 120 }, "retry: 120\n");
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) refuse(response, 503, "unavailable", { "Retry-After": "0.1" });
      else if (number === 2) response.begin(closing) ?? response.end();
      else response.begin(connected()) ?? response.end(END);
    },
  });
  const began = Date.now();
  const { subscription } = follow(server.baseUrl);
  await subscription.finished;
  assert.equal(server.asked.streams.length, 3);
  assert.ok(Date.now() - began >= 220, "too early");
});

test("a Redis that lost its data is temporary, until the gateway says that nothing is there", async () => {
  const closing = frame("stream:closing", { reason: "storage_lost", retry_ms: 10 }, "retry: 10\n");
  const server = await serve({
    stream: (request, response, number) => {
      if (number === 1) response.begin(connected() + closing) ?? response.end();
      else if (number === 2) refuse(response, 503, "unavailable", { "Retry-After": "0.01" });
      else response.begin(connected()) ?? response.end(END);
    },
  });
  const { subscription } = follow(server.baseUrl);
  await subscription.finished;
  assert.equal(subscription.status, "completed");
  assert.equal(server.asked.streams.length, 3);
});

test("after stream:expiring the stream continues with a new token", async () => {
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(connected() + happened(`5-${number}`));
      if (number === 1) response.write(frame("stream:expiring", { expires_in_seconds: 60 }));
      else response.end(END);
    },
  });
  let number = 0;
  const getToken = () => `token-${++number}`;
  const { subscription, seen, statuses, errors } = follow(server.baseUrl, { getToken });
  await subscription.finished;
  assert.deepEqual(seen, ["5-1", "5-2", "5-9"]);
  assert.equal(server.asked.streams[1].headers.authorization, "Bearer token-2");
  // As planned: no connection is lost.
  assert.deepEqual([statuses, errors], [["live", "completed"], []]);
});

test("a new token is requested before the old one expires", async () => {
  const token = (seconds) => {
    const payload = JSON.stringify({ exp: Date.now() / 1000 + seconds });
    return `x.${Buffer.from(payload).toString("base64url")}.y`;
  };
  const server = await serve({
    stream: (request, response, number) => {
      response.begin(connected());
      if (number === 1) response.destroy();
      else response.end(END);
    },
  });
  let asked = 0;
  const { subscription } = follow(server.baseUrl, {
    getToken: () => token((asked += 1) === 1 ? 5 : 600),
  });
  await subscription.finished;
  assert.equal(asked, 2);
});
