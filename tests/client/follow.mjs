// Follows one execution of a real gateway and prints what it sees, one JSON line each.

import { subscribeToExecution } from "../../gateway/client/index.js";

const [baseUrl, executionId, token, organizationId] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));
const subscription = subscribeToExecution(executionId, {
  baseUrl,
  getToken: () => token,
  organizationId,
  onEvent: (event) => say({ event: event.type, id: event.id, number: event.data?.number }),
  onStatus: (status) => say({ status }),
});
await subscription.finished;
say({ run: { ...subscription.run, events: undefined } });
