import { useExecutionStream } from "sse-gateway-client/react";

/** A run, live. `options`: `getToken`, `organizationId`, and `baseUrl` if the gateway is elsewhere. */
export function Run({ id, options }) {
  const { run, connection, error, tryAgain } = useExecutionStream(id, options);
  return (
    <section>
      <h2>{run?.status ?? "pending"}</h2>
      <p>
        {error?.message ?? connection}
        {error?.retryable && <button onClick={tryAgain}>Retry now</button>}
      </p>
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
