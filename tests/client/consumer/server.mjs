// Renders components with the hook to text, as a server does, beside a gateway that keeps the paths
// of all requests; prints both.

import { createServer } from "node:http";

import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { useExecutionStream } from "sse-gateway-client/react";

const asked = [];
const gateway = createServer((request, response) => {
  asked.push(request.url);
  response.end();
});
await new Promise((resolve) => gateway.listen(0, "127.0.0.1", resolve));
const baseUrl = `http://127.0.0.1:${gateway.address().port}`;
const getToken = () => "token";

const Run = ({ given }) => createElement("p", null, useExecutionStream(...given).status);
const rendered = [
  ["run-1", { baseUrl, getToken }],
  ["run-1", "token", "acme", { baseUrl }],
  [null, { baseUrl, getToken }],
  [null, "token", "acme", { baseUrl }],
].map((given) => renderToString(createElement(Run, { given })));

// A request for a stream would have come before this one.
await fetch(`${baseUrl}/last`);
gateway.close();
console.log(JSON.stringify({ rendered, asked }));
