"use client";

import { useExecutionStream } from "sse-gateway-client/react";

// app/run.jsx in Next: a page, which the server renders, shows <Run id={…} organizationId={…} />.
// The token comes from a route of the application's own.
const getToken = async () => (await fetch("/api/token", { method: "POST" })).text();

export default function Run({ id, organizationId, baseUrl }) {
  const { run, connection, error } = useExecutionStream(id, { getToken, organizationId, baseUrl });
  return (
    <section>
      <h2>{run?.status ?? "pending"}</h2>
      <p>{error?.message ?? connection}</p>
      <ol>
        {run?.execution_logs.map((step, number) => (
          <li key={number}>
            {step.node_type}: {step.status}
          </li>
        ))}
      </ol>
    </section>
  );
}
