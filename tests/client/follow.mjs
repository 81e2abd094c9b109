// Follows one execution of a real gateway and prints what it sees, one JSON line each.

const OURS = new URL("../../gateway/client/index.js", import.meta.url).href;
const [baseUrl, executionId, token, organizationId, client = OURS] = process.argv.slice(2);
const { subscribeToExecution } = await import(client);
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
