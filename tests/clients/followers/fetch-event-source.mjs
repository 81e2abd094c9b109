import { fetchEventSource } from "@microsoft/fetch-event-source";

import { TYPES, again, headers, over, say, url } from "./given.mjs";

class Over extends Error {}

fetchEventSource(url, {
  headers,
  openWhenHidden: true,
  async onopen(response) {
    if (response.status === 204) throw new Over();
    if (!response.ok) throw new Error(`status ${response.status}`);
  },
  onmessage: ({ event, data }) => TYPES.includes(event) && say(data),
  onclose() {
    // Else it takes the end of a stream for the end of everything.
    again();
    throw new Error("The stream has ended.");
  },
  onerror(error) {
    // Whatever else it was, it tries again.
    if (error instanceof Over) throw error;
  },
}).catch((error) => over(error instanceof Over ? "program" : "error"));
