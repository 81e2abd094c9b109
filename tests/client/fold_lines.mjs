// Answers each line of events, as JSON, with the run document that they fold to.

import { createInterface } from "node:readline";

import { fold } from "../../gateway/client/index.js";

const ends = ["execution:completed", "execution:failed", "execution:canceled", "execution:cancelled"];
const terminalTypes = Object.fromEntries([...ends, "job:done", "run.over"].map((type) => [type, null]));
terminalTypes.closed = "canceled";

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(fold(JSON.parse(line), { terminalTypes })));
}
