// Answers each line of events, as JSON, with the run document that they fold to.

import { createInterface } from "node:readline";

import { fold } from "../../gateway/client/index.js";

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(fold(JSON.parse(line))));
}
