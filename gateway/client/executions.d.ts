// Types of lists and sets; what they have in common with a single run is in index.d.ts.

import type {
  ConnectionOptions,
  ConnectionState,
  ExecutionEvent,
  Run,
  StatusDetail,
  StreamError,
  TerminalTypes,
} from "./index.js";

export * from "./index.js";

/** A run in a list; times are ISO 8601 in UTC. What is not known is null. */
export interface ExecutionSummary {
  execution_id: string;
  workflow_id: string | null;
  status: Run["status"];
  started_at: string | null;
  completed_at: string | null;
  duration_ms: number | null;
  current_node: string | null;
  steps_completed: number | null;
  steps_failed: number | null;
  error_message: string | null;
  last_event_id: string | null;
  /** Of its last activity: lists are in this order, newest first. */
  updated_at: string;
  /** How many streams of it are open. */
  watching: number | null;
}

/** What a page shows, at one moment. It never changes: a new one follows it. */
interface Shown {
  readonly connection: ConnectionState;
  /** Why it is not live; null while it is. */
  readonly error: StreamError | null;
}

interface MoreOptions extends ConnectionOptions {
  /** Called whenever the connection, its reason or the time of the next try changes. */
  onStatus?: (connection: ConnectionState, detail: StatusDetail) => void;
}

interface SubscriptionToMore<Snapshot extends Shown> extends Shown, Disposable {
  /** When the next try is, in milliseconds since the epoch; null while none is scheduled. */
  readonly nextTryAt: number | null;
  /** Resolves when it is over, for any reason. */
  readonly finished: Promise<void>;
  close(): void;
  /** Try a stream now, instead of at `nextTryAt`. It does nothing while one is open. */
  tryAgain(): void;
  /** Call `watcher` after each change, until the returned function is called. */
  watch(watcher: () => void): () => void;
  /** Call `show` now and after changes, `throttleMs` apart, until the returned function is called. */
  subscribe(show: (snapshot: Snapshot) => void): () => void;
}

export interface ListOptions extends MoreOptions {
  /** Whose runs. */
  organizationId: string;
  /** Only runs with this status, or one of these. */
  status?: Run["status"] | readonly Run["status"][];
  /** Only runs of this workflow. */
  workflowId?: string;
  /** At most so many, from 1 to 100; 100 by default. */
  limit?: number;
}

export interface ListSnapshot extends Shown {
  /** Newest activity first; null before anything is known; another array after each change. */
  readonly executions: readonly ExecutionSummary[] | null;
}

export interface ListSubscription extends ListSnapshot, SubscriptionToMore<ListSnapshot> {}

export interface SetOptions extends MoreOptions {
  /** Of the executions; one stream takes 50, more take several. */
  executionIds: readonly string[];
  /** Called for each event once, in the order of its execution, and for gaps and resets. */
  onEvent?: (event: ExecutionEvent, executionId: string) => void;
  /** Called once for each run that has ended; not after `close`. */
  onComplete?: (run: Run, executionId: string) => void;
  /** As for a single execution. */
  terminalTypes?: TerminalTypes;
  types?: readonly string[];
}

/** One of the executions of a set. */
export interface FollowedExecution {
  readonly execution_id: string;
  /** The same object until something changes. */
  readonly run: Run;
  /** `absent`: it is unknown, or may not be seen. `closed`: the gateway has closed it, `error` says why. */
  readonly state: "following" | "ended" | "absent" | "closed";
  readonly error: StreamError | null;
}

export interface SetSnapshot extends Shown {
  /** In the order of the ids; another array after each change. */
  readonly executions: readonly FollowedExecution[];
}

export interface SetSubscription extends SetSnapshot, SubscriptionToMore<SetSnapshot> {
  readonly executionIds: readonly string[];
}

/** Follow several executions, each to its end. */
export function subscribeToExecutions(options: SetOptions): SetSubscription;
/** Follow the runs of an organization, as a list. */
export function subscribeToExecutions(options: ListOptions): ListSubscription;
