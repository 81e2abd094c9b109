import { EventSource } from "eventsource";

import { TYPES, headers, over, say, url } from "./given.mjs";

// The library's timer does not keep a program that has nothing else to do.
const alive = setInterval(() => {}, 60_000);
const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
});
for (const type of TYPES) source.addEventListener(type, ({ data }) => say(data));
source.addEventListener("error", () => {
  if (source.readyState !== EventSource.CLOSED) return;
  clearInterval(alive);
  over("library");
});
