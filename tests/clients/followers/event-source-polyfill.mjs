import { EventSourcePolyfill } from "event-source-polyfill";

import { TYPES, headers, over, say, url } from "./given.mjs";

const source = new EventSourcePolyfill(url, { headers });
for (const type of TYPES) source.addEventListener(type, ({ data }) => say(data));
source.addEventListener("error", () => {
  if (source.readyState === EventSourcePolyfill.CLOSED) over("library");
});
