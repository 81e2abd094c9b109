// Where a token is sent that no `baseUrl` says more of.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "../../.venv/npm/node_modules/esbuild/lib/main.js";

const [INDEX, SERVED] = ["index", "served"].map((name) =>
  fileURLToPath(new URL(`../../gateway/client/${name}.js`, import.meta.url)),
);

/** The package in one module, as if it had been loaded from `url`. */
async function loadedFrom(url) {
  const { outputFiles } = await build({
    ...{ entryPoints: [INDEX], inject: [SERVED], bundle: true, format: "esm", write: false },
    define: { "import.meta.url": JSON.stringify(url) },
  });
  return import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
}

test("a token is sent to the gateway that serves the module, else to the page's origin: never to a CDN", async (t) => {
  globalThis.location = { origin: "https://app.example.com" };
  t.after(() => delete globalThis.location);
  const served = "/api/v1/sse/client/index.js";
  for (const [url, base] of [
    [`https://gateway.example.com${served}`, "https://gateway.example.com"],
    [`https://gateway.example.com${served}?v=0a1b`, "https://gateway.example.com"],
    [`https://example.com/stream${served}`, "https://example.com/stream"],
    ["https://cdn.example.com/assets/index-4f3c.js", "https://app.example.com"],
    [`https://cdn.example.com/?of=${served}`, "https://app.example.com"],
    [`https://cdn.example.com/#${served}`, "https://app.example.com"],
    [`https://cdn.example.com/a.js?b${served}`, "https://app.example.com"],
    ["file:///srv/app/api/v1/sse/client/index.js", "https://app.example.com"],
    [undefined, "https://app.example.com"],
  ]) {
    const { subscribeToExecution } = await loadedFrom(url ?? "");
    const asked = Promise.withResolvers();
    const fetch = (address) => asked.resolve(address) ?? new Promise(() => {});
    const subscription = subscribeToExecution("run-1", { token: "secret", fetch });
    const address = await asked.promise;
    subscription.close();
    assert.equal(address, `${base}/api/v1/sse/executions/run-1/stream`, url);
  }
});
