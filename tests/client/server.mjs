// A server that answers as a test chooses: streams, polls and tickets of one execution.

import { createServer } from "node:http";
import { after } from "node:test";

export const frame = (event, data, fields = "") =>
  `${fields}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
export const connected = (more) =>
  frame("connected", { execution_id: "run-1", ...more }, "retry: 20\n");
export const happened = (id, type = "step:started") =>
  frame(
    type,
    { id, type, data: { node_id: id }, timestamp: "2026-03-02T08:00:00Z" },
    `id: ${id}\n`,
  );

/** `stream(request, response, number)` answers each stream, `poll(request)` gives a document, or the
 * status of a refusal. */
export async function serve({ stream, poll = () => null, ticket = () => ({ ticket: "t" }) }) {
  const asked = { streams: [], polls: [], tickets: 0 };
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    request.query = url.searchParams;
    if (url.pathname.endsWith("/stream")) {
      asked.streams.push(request);
      response.begin = (text = "") => {
        response.writeHead(200, { "Content-Type": "text/event-stream" });
        response.write(text);
      };
      stream(request, response, asked.streams.length);
    } else if (url.pathname.endsWith("/ticket")) {
      asked.tickets += 1;
      response.end(JSON.stringify(ticket(request)));
    } else {
      asked.polls.push(request);
      const document = poll(request, asked.polls.length);
      if (typeof document === "number") return refuse(response, document, "no");
      response.writeHead(document === null ? 304 : 200, { ETag: `"${asked.polls.length}"` });
      response.end(document === null ? undefined : JSON.stringify(document));
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { baseUrl: `http://127.0.0.1:${server.address().port}`, asked };
}

export function refuse(response, status, error, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify({ error, message: `${error}: try something else.` }));
}

/** Wait until `condition()` is true. */
export async function eventually(condition, words = condition.toString()) {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${words}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
