import type { ConnectionState, ExecutionEvent, Options, Run, Status } from "./index.js";

export interface ExecutionStream {
  /** All events so far, in order; a new array when there are more. */
  events: readonly ExecutionEvent[];
  /** What the run looks like now; null before anything is known. */
  run: Run | null;
  /** `closed` where the id is null; so is `status`. */
  connection: ConnectionState;
  status: Status;
  error: Error | null;
  lastEventId: string | null;
}

/** What the hook of the legacy API (the front-end document's) returns: no notices, and nothing from
 * before a reset. */
export interface LegacyExecutionStream {
  events: { type: string; data: any; timestamp: string }[];
  status: "connecting" | "connected" | "completed" | "failed" | "disconnected";
  error: string | null;
}

/** Options of a shared stream. It has no callbacks: its events are in what the hook returns. */
export type StreamOptions = Omit<Options, "onEvent" | "onStatus" | "signal" | "timing">;

/** Follow an execution from a component. Components that follow the same one share a stream. */
export function useExecutionStream(
  executionId: string | null,
  options: StreamOptions,
): ExecutionStream;
/** The legacy API: the form of the front-end document. */
export function useExecutionStream(
  executionId: string | null,
  token: string,
  organizationId: string,
  options?: StreamOptions,
): LegacyExecutionStream;
