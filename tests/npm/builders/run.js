"use client";
// The page of each application: it shows the execution that its address names.

import { createElement } from "react";
import { useExecutionStream } from "sse-gateway-client/react";

export function Run() {
  const given = new URLSearchParams(globalThis.location?.search);
  const { connection, run } = useExecutionStream(given.get("id"), {
    baseUrl: given.get("base") ?? undefined,
    token: given.get("token") ?? undefined,
    organizationId: "acme",
  });
  // A server renders it without an id.
  const options = { id: "run", suppressHydrationWarning: true };
  return createElement("p", options, `${connection} ${run?.status}`);
}
