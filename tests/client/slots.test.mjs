// How many streams a browser's connections allow.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "./server.mjs";
import { all, gatewayWithHistory, live, tab } from "./tabs.mjs";

test("over HTTP/1.1 five executions have streams, the others are polled, and say so until there is room", async () => {
  const gateway = await gatewayWithHistory();
  const timing = { pollEveryMs: 20, probeEveryMs: 50 };
  const tabs = Array.from({ length: 7 }, (_, number) =>
    tab(gateway, { organizationId: `org-${number}`, timing }),
  );
  const are = (status) => tabs.filter(({ subscription }) => subscription.connection === status);
  // At the same moment: a tab that is too busy to answer in time leads to a sixth for a short time.
  const isFull = () => gateway.open.size === 5 && are("live").length === 5;
  await eventually(() => isFull() && are("polling").length === 2, "five streams");
  const [polling, other] = are("polling");
  const words = "Too many streams of this page's browser: polling.";
  assert.equal(polling.subscription.error.message, words);
  gateway.publish("5-1");
  await all(tabs, ["5-1"]);
  other.subscription.close();
  are("live")[0].subscription.close();
  await eventually(() => polling.subscription.connection === "live", "room");
});

test("over HTTP/1.1 a stream stays open whatever number of others come and go, or ask for a slot", async () => {
  const gateway = await gatewayWithHistory();
  const timing = { pollEveryMs: 20, probeEveryMs: 50 };
  const another = (number) => tab(gateway, { organizationId: `org-${number}`, timing });
  const stays = another(0);
  await live([stays]);
  for (let number = 1; number <= 8; number += 1) {
    const goes = another(number);
    await live([goes]);
    goes.subscription.close();
  }
  const others = Array.from({ length: 8 }, (_, number) => another(number + 1));
  const answered = () => others.filter(({ subscription }) => subscription.connection === "polling");
  await eventually(() => answered().length === 4, "four are polled");
  const [asked] = [gateway.asked.polls.length];
  await eventually(() => gateway.asked.polls.length > asked + 40, "they ask for a slot");
  assert.deepEqual(stays.statuses, ["live"]);
});
