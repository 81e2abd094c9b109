import { createEventSource } from "eventsource-client";

import { TYPES, headers, over, say, url } from "./given.mjs";

for await (const { event, data } of createEventSource({ url, headers })) {
  if (TYPES.includes(event)) say(data);
}
over("library");
