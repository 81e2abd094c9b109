import ReconnectingEventSource from "reconnecting-eventsource";

import { TYPES, over, say, token, url } from "./given.mjs";

const query = new URLSearchParams({ Authorization: `Bearer ${token}`, organization_id: "acme" });
const source = new ReconnectingEventSource(`${url}?${query}`);
for (const type of TYPES) source.addEventListener(type, ({ data }) => say(data));
// It would come back after a 204 too.
source.addEventListener("execution:completed", () => {
  source.close();
  over("program");
});
