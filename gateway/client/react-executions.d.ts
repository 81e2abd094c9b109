import type { ListOptions, ListSnapshot, SetOptions, SetSnapshot } from "./executions.js";

export { subscribeToExecutions } from "./executions.js";
export * from "./react.js";

/** Options of a shared stream. It has no callbacks: what it shows is in what the hook returns. */
type HookOptions<Options> = Omit<
  Options,
  "onEvent" | "onStatus" | "onComplete" | "signal" | "timing"
> & {
  /** False follows nothing. */
  enabled?: boolean;
};
export type ListHookOptions = HookOptions<Omit<ListOptions, "organizationId">> & {
  /** Null follows nothing. */
  organizationId: string | null | undefined;
};
export type SetHookOptions = HookOptions<Omit<SetOptions, "executionIds">>;

interface TryAgain {
  /** Try a stream now; one that was given up is opened again. */
  tryAgain: () => void;
}

/** Show the runs of an organization, as a list. Components that ask for the same share a stream. */
export function useExecutions(options: ListHookOptions): ListSnapshot & TryAgain;
/** Follow several executions; no id, or null, follows nothing. Components that ask for the same share a
 * stream. */
export function useExecutionSet(
  executionIds: readonly string[] | null,
  options: SetHookOptions,
): SetSnapshot & TryAgain;
