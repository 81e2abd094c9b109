// What people write with the package, for the TypeScript compiler alone: it is never run.

import {
  type ExecutionEvent,
  fold,
  Refused,
  type Run,
  subscribeToExecution,
  TERMINAL_TYPES,
  Unauthorized,
} from "sse-gateway-client";
import { type ExecutionSummary, subscribeToExecutions } from "sse-gateway-client/executions";
import { useExecutionStream } from "sse-gateway-client/react";
import { useExecutions, useExecutionSet } from "sse-gateway-client/react-executions";

declare module "sse-gateway-client" {
  interface OwnEvents {
    "invoice:sent": { number: string };
  }
}

function words(event: ExecutionEvent): string | number | undefined {
  switch (event.type) {
    case "step:started":
      return event.data.node_type;
    case "step:completed": {
      const { duration_ms: duration, output } = event.data;
      // @ts-expect-error a step that completed has no error
      event.data.error;
      return output ? duration : undefined;
    }
    case "step:failed":
      return event.data.error;
    case "execution:paused":
      return event.data.reason;
    case "execution:completed":
      return event.data.generated_document_id ?? event.data.execution_time_ms;
    case "execution:failed":
      return event.data.error_message;
    case "execution:canceled":
    case "execution:cancelled":
      return event.data.execution_id;
    case "invoice:sent":
      // @ts-expect-error an invoice has no such thing
      event.data.total;
      return event.data.number;
    case "stream:gap":
      // @ts-expect-error a notice has no data
      event.data;
      return event.missed;
    case "stream:reset":
      return event.reason;
    default: {
      const type: string = event.type;
      const data: unknown = event.data;
      // @ts-expect-error nobody knows what is in it
      event.data.number;
      return type === "own:type" && typeof data === "string" ? data : event.timestamp;
    }
  }
}

export async function follow(executionId: string): Promise<Run> {
  const subscription = subscribeToExecution(executionId, {
    baseUrl: "https://gateway.example.com",
    getToken: async ({ fresh }) => {
      if (fresh) throw new Unauthorized("Signed out.");
      return "token";
    },
    organizationId: "acme",
    headers: { "X-Tenant": "7" },
    credentials: "include",
    fetch: (url, init) => fetch(url, { ...init, priority: "high" }),
    throttleMs: 100,
    onEvent: (event) => (event.type === "invoice:sent" ? event.data.number : words(event)),
    onComplete: (run) => run.execution_logs.length,
    onStatus: (status, { nextTryAt, error }) => {
      if (status === "reconnecting" && nextTryAt !== null) return nextTryAt - Date.now();
      // @ts-expect-error no such status
      if (status === "connected") return 0;
      if (error?.retryable) return error.reason ?? error.code;
      return error instanceof Refused ? error.retryAfterMs : undefined;
    },
    signal: AbortSignal.timeout(1000),
    types: ["own:type"],
    terminalTypes: TERMINAL_TYPES,
  });
  for await (const event of subscription) words(event);
  const again: Run = fold(subscription.events, { executionId });
  await subscription.finished;
  return again.status === "completed" ? again : subscription.run;
}

export function held(executionId: string): () => void {
  using brief = subscribeToExecution(executionId, { token: "token" });
  brief.tryAgain();
  return brief.subscribe(({ events, run, error }) => [events.length, run?.status, error?.code]);
}

const title = ({ workflow_id: workflow, watching }: ExecutionSummary) =>
  `${workflow ?? "?"} (${watching ?? 0})`;

export function more(ids: string[]): () => void {
  using list = subscribeToExecutions({
    token: "token",
    organizationId: "acme",
    status: ["running", "paused"],
    workflowId: "invoices",
    limit: 20,
    onStatus: (connection, { error }) => (connection === "closed" ? error?.code : undefined),
  });
  using set = subscribeToExecutions({
    getToken: () => "token",
    executionIds: ids,
    onEvent: (event, executionId) => [executionId, words(event)],
    onComplete: (run, executionId) => [executionId, run.status],
  });
  set.subscribe(({ executions }) => executions.map(({ run, state }) => [run.status, state]));
  return list.subscribe(({ executions, connection }) => [connection, executions?.map(title)]);
}

export function Runs({ ids, organization }: { ids: string[]; organization: string | null }) {
  const given = { getToken: () => "token", organizationId: organization };
  const { executions, error, tryAgain } = useExecutions({ ...given, status: "running" });
  const set = useExecutionSet(ids, { token: "token", enabled: organization !== null });
  if (error?.retryable) return <button onClick={tryAgain}>{error.message}</button>;
  const going = set.executions.filter(({ state }) => state === "following");
  return <p title={executions?.map(title).join()}>{going.length}</p>;
}

export function legacyForm(executionId: string): () => void {
  const stream = subscribeToExecution(executionId, "token", "acme");
  stream.addEventListener("step:started", (event) => JSON.parse(event.data).data.node_type);
  stream.onerror = (error) => error.type;
  return () => stream.close();
}

export function Steps({ id }: { id: string | null }) {
  const { events, run, connection, error, lastEventId, tryAgain } = useExecutionStream(id, {
    getToken: () => "token",
    organizationId: "acme",
    enabled: id !== "draft",
  });
  if (error?.retryable) return <button onClick={tryAgain}>{error.message}</button>;
  if (connection === "polling" || run === null) return <p>{error?.message}</p>;
  const steps = run.execution_logs.map((step) => <li key={step.node_id}>{step.duration_ms}</li>);
  return <ul title={lastEventId ?? events.map(words).join()}>{steps}</ul>;
}

export function LegacySteps({ id }: { id: string | null }) {
  const { events, status, error } = useExecutionStream(id, "token", "acme");
  // @ts-expect-error the legacy hook has five statuses, and this is none of them
  if (status === "live") return null;
  if (status === "connected") return events.map((event) => event.data.data.node_type);
  return <p>{error?.toUpperCase()}</p>;
}

export function mistakes() {
  // @ts-expect-error an id is needed
  subscribeToExecution(null, { token: "token" });
  // @ts-expect-error the options are needed
  subscribeToExecution("run-1");
  // @ts-expect-error the legacy API needs an organization
  subscribeToExecution("run-1", "token");
  // @ts-expect-error a token is a text
  subscribeToExecution("run-1", { getToken: () => 42 });
  // @ts-expect-error the name is organizationId
  subscribeToExecution("run-1", { token: "token", orgId: "acme" });
  // @ts-expect-error a shared stream calls nobody: its events are in what the hook returns
  useExecutionStream("run-1", { token: "token", onEvent: words });
  // @ts-expect-error no such status
  subscribeToExecutions({ token: "token", organizationId: "acme", status: "done" });
  // @ts-expect-error a list needs an organization, a set its ids
  subscribeToExecutions({ token: "token" });
  // @ts-expect-error nothing of it may be written to
  useExecutionStream("run-1", { token: "token" }).events.push();
}
