import type { Options, Snapshot } from "./index.js";

export { subscribeToExecution } from "./index.js";

export interface ExecutionStream extends Snapshot {
  /** Try a stream now; one that was given up is opened again. */
  tryAgain: () => void;
}

/** What the hook of the legacy API (the front-end document's) returns: no notices, and nothing from
 * before a reset. */
export interface LegacyExecutionStream {
  events: { type: string; data: any; timestamp: string }[];
  status: "connecting" | "connected" | "completed" | "failed" | "disconnected";
  error: string | null;
}

/** Options of a shared stream. It has no callbacks: its events are in what the hook returns. */
export type StreamOptions = Omit<
  Options,
  "onEvent" | "onStatus" | "onComplete" | "signal" | "timing"
> & {
  /** False follows nothing, as an id of null does. */
  enabled?: boolean;
};

/** Follow an execution from a component. Components that follow the same one share a stream; where the
 * id is null, `connection` and `status` are `closed`. */
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
