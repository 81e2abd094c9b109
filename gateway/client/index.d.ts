/// <reference lib="esnext.disposable" />
// Types of the package: the events, a run, and how to follow it.

// Only what says `export` is exported: without this line all would be.
export {};

/** What every event has; `id` is missing only where the gateway does not record. */
interface Envelope<Type extends string, Data> {
  id?: string;
  type: Type;
  data: Data;
  /** ISO 8601; one without a zone is UTC. */
  timestamp: string;
  /** The trace in which it was published (W3C Trace Context), where the producer has one. */
  traceparent?: string;
}

interface StepData {
  node_id: string;
  node_type: string;
  position?: number;
  /** Tells apart the attempts of one node, as `started_at` and `position` do. */
  attempt?: number | string;
  status?: "running" | "success" | "error";
  started_at?: string;
}

interface EndedStepData extends StepData {
  completed_at?: string;
  duration_ms?: number;
}

interface ExecutionData {
  execution_id: string;
}

interface EndedExecutionData extends ExecutionData {
  status?: string;
  completed_at?: string;
  execution_time_ms?: number;
}

export type StepStarted = Envelope<"step:started", StepData>;
export type StepCompleted = Envelope<"step:completed", EndedStepData & { output?: unknown }>;
export type StepFailed = Envelope<"step:failed", EndedStepData & { error?: string }>;
export type ExecutionPaused = Envelope<
  "execution:paused",
  ExecutionData & { reason?: string; waiting_for?: Record<string, unknown> }
>;
export type ExecutionResumed = Envelope<"execution:resumed", Partial<ExecutionData>>;
export type ExecutionCompleted = Envelope<
  "execution:completed",
  EndedExecutionData & { generated_document_id?: string }
>;
export type ExecutionFailed = Envelope<
  "execution:failed",
  EndedExecutionData & { error_message?: string }
>;
export type ExecutionCanceled = Envelope<
  "execution:canceled" | "execution:cancelled",
  EndedExecutionData
>;

/** Events that were asked for and are no longer kept: first and last id, and how many. */
export interface StreamGap {
  type: "stream:gap";
  from: string;
  to: string;
  missed: number;
}

/** The history has started again (`history_lost`), or the execution has (`restarted`): forget what was
 * shown; all that is kept follows. */
export interface StreamReset {
  type: "stream:reset";
  reason: string;
}

export type KnownEvent =
  | StepStarted
  | StepCompleted
  | StepFailed
  | ExecutionPaused
  | ExecutionResumed
  | ExecutionCompleted
  | ExecutionFailed
  | ExecutionCanceled
  | StreamGap
  | StreamReset;

/** The types of your own events, and what `data` is in each. Empty until you add yours:
 *
 *     declare module "sse-gateway-client" {
 *       interface OwnEvents { "invoice:sent": { number: string } }
 *     }
 */
export interface OwnEvents {}

export type OwnEvent = {
  [Type in keyof OwnEvents & string]: Envelope<Type, OwnEvents[Type]>;
}[keyof OwnEvents & string];

/** Any other type, named by its producer: what is left in the `default` of a `switch`. No event has
 * the mark `__unknown`; without it, none of the types above would narrow. */
export type UnknownEvent = Envelope<`${string}:${string}` & { readonly __unknown: true }, unknown>;

export type ExecutionEvent = KnownEvent | OwnEvent | UnknownEvent;

/** How the events arrive: nothing about the run, whose status is `run.status`. */
export type ConnectionState =
  | "connecting"
  | "live"
  | "catching-up"
  | "reconnecting"
  | "polling"
  /** The run has ended, or was deleted; `close()` was called; or access is refused. */
  | "closed";

/** Both in one word: how the run has ended (`failed` also if it was canceled), `paused` while the
 * connection is live and the run is paused, else the connection. */
export type Status = ConnectionState | "paused" | "completed" | "failed" | "ended";

export interface StatusDetail {
  connection: ConnectionState;
  /** When the next try is, in milliseconds since the epoch; null while none is scheduled. */
  nextTryAt: number | null;
  /** Why it is not live; null while it is. */
  error: StreamError | null;
}

export interface StepLog {
  node_id: string | null;
  node_type: string | null;
  position: number | null;
  /** `interrupted`: its run has ended, and no event says how the step did. */
  status: "running" | "success" | "error" | "interrupted";
  /** Null where it is not known; so are the other times. */
  started_at: string | null;
  completed_at: string | null;
  duration_ms: number | null;
  output: unknown;
  error: string | null;
}

export type Ending = "completed" | "failed" | "canceled" | "ended";

/** A list, or an object with the status of each type; null where its event says how the run ended. */
export type TerminalTypes = readonly string[] | Readonly<Record<string, Ending | null>>;

/** What a run looks like now; times are ISO 8601 with their zone. */
export interface Run {
  id: string;
  workflow_id: string;
  /** `ended`: its last event does not say how. `unknown`: there were events, and none of them is known. */
  status: "pending" | "running" | "paused" | "unknown" | Ending;
  started_at: string | null;
  completed_at: string | null;
  duration_ms: number | null;
  /** The step that runs now: of those that have not ended, the one that began last. */
  current_node: string | null;
  steps_completed: number;
  error_message: string | null;
  generated_document_id: string | null;
  last_event_id: string | null;
  /** Whether this is made from all events of the run; null where events have no ids. If not, times,
   * counts and logs are those of a part. */
  complete: boolean | null;
  events_missing: number | null;
  /** From the event with this id on, the logs are complete. */
  execution_logs_from: string | null;
  /** One entry for each step and attempt, in the order in which they began. */
  execution_logs: StepLog[];
  events: ExecutionEvent[];
}

/** How the gateway is reached, and as whom. */
export interface ConnectionOptions {
  /** Where the gateway is; by default the gateway that serves the module, else the page's own origin.
   * Outside a web page it is needed. */
  baseUrl?: string;
  /** Returns a token for the next request. Called again before the last token expires, and with
   * `fresh` when that was refused; never twice at the same time. If it throws `Unauthorized`, the
   * subscription ends; after any other error, or without a token, it is called again later. */
  getToken?: (asked: { fresh: boolean }) => string | Promise<string>;
  /** Instead of `getToken`: a token that cannot be renewed. */
  token?: string;
  organizationId?: string;
  /** Further headers of each request. An EventSource cannot send them. */
  headers?: Readonly<Record<string, string>>;
  /** As fetch's option: `include` sends cookies to another origin. With it, no token is needed. */
  credentials?: RequestCredentials;
  /** Sends each request, instead of the page's fetch. */
  fetch?: typeof fetch;
  /** The least time between two calls of a `subscribe` callback, or two renderings of the hook, in
   * milliseconds; 16 by default, about one frame. */
  throttleMs?: number;
  /** Ends the subscription when it is aborted. */
  signal?: AbortSignal;
  /** By default streaming fetch where the browser has it, else EventSource with a ticket. */
  transport?: "fetch" | "event-source";
  /** In milliseconds; for tests. */
  timing?: Partial<{
    connectedWithinMs: number;
    pollEveryMs: number;
    probeEveryMs: number;
    heartbeatMs: number;
  }>;
}

export interface Options extends ConnectionOptions {
  /** The workflow that polls name; it may be left out. */
  workflowId?: string;
  /** Called for each event once, in order, and for gaps and resets. */
  onEvent?: (event: ExecutionEvent) => void;
  /** Called whenever the status, its reason or the time of the next try changes. */
  onStatus?: (status: Status, detail: StatusDetail) => void;
  /** Called once, when the run has ended; not after `close`. */
  onComplete?: (run: Run) => void;
  /** Begin after this event instead of at the first one. */
  lastEventId?: string;
  /** The types that end an execution, where the gateway's are not the usual ones; a stream says it
   * by itself. */
  terminalTypes?: TerminalTypes;
  /** Your own event types. Only an EventSource needs this list; streaming fetch delivers all types. */
  types?: readonly string[];
  /** Whether the tabs of this origin share one stream per execution; by default they do. */
  share?: boolean;
  /** Names the user for whom the stream is shared, where the token has no readable `sub`. */
  shareKey?: string;
}

/** What a subscription is at one moment. It never changes: a new one follows it. */
export interface Snapshot {
  /** All events so far, in order; a new array when there are more. */
  readonly events: readonly ExecutionEvent[];
  /** What the run looks like now; null before anything is known. */
  readonly run: Run | null;
  readonly connection: ConnectionState;
  readonly status: Status;
  readonly error: StreamError | null;
  readonly lastEventId: string | null;
}

export interface Subscription extends AsyncIterable<ExecutionEvent>, Disposable {
  readonly executionId: string;
  readonly connection: ConnectionState;
  readonly status: Status;
  readonly events: readonly ExecutionEvent[];
  /** The same object until something changes. */
  readonly run: Run;
  readonly lastEventId: string | null;
  /** Why it is not live; null while it is, and after a normal end. */
  readonly error: StreamError | null;
  /** When the next try is, in milliseconds since the epoch; null while none is scheduled. */
  readonly nextTryAt: number | null;
  /** Resolves when it is over, for any reason. */
  readonly finished: Promise<void>;
  close(): void;
  /** Try a stream now, instead of at `nextTryAt`. It does nothing while one is open. */
  tryAgain(): void;
  /** Call `watcher` after each change, until the returned function is called. */
  watch(watcher: () => void): () => void;
  /** Call `show` now and after changes, `throttleMs` apart, until the returned function is called. This
   * is the contract of Svelte's stores. */
  subscribe(show: (snapshot: Snapshot) => void): () => void;
  /** All events from the first one on, to the end; throws `error` if access is refused. A `break`
   * closes the subscription. */
  [Symbol.asyncIterator](): AsyncIterator<ExecutionEvent, void>;
}

/** What the legacy API returns: also the form of an EventSource, whose `error` is final. */
export interface LegacySubscription extends Subscription {
  /** Called with a message for each event of this type, and for `connected`: its `data` is a text, the
   * event as JSON. */
  addEventListener(type: string, listener: (message: MessageEvent) => void): void;
  removeEventListener(type: string, listener: (message: MessageEvent) => void): void;
  /** Called when access is refused. A lost connection comes back, and calls nothing. */
  onerror: ((event: Event) => void) | null;
}

/** Follow an execution to its end, through lost connections and restarts. */
export function subscribeToExecution(executionId: string, options: Options): Subscription;
/** The legacy API: the form of the front-end document. */
export function subscribeToExecution(
  executionId: string,
  token: string,
  organizationId: string,
  options?: Options,
): LegacySubscription;

/** The run document of all `events` of one execution, in their order. */
export function fold(
  events: Iterable<unknown>,
  about?: { executionId?: string; workflowId?: string; terminalTypes?: TerminalTypes },
): Run;

/** The types of event that end an execution, unless its gateway is configured otherwise. */
export const TERMINAL_TYPES: readonly string[];

/** Why a subscription is not live. */
export class StreamError extends Error {
  /** The gateway's code of a refusal (`token_expired`, `limit`), or what went wrong: `network`,
   * `offline`, `silent`, `held_back`, `redis`, `ended`, `closed`, `token`, `no_token`, `unauthorized`,
   * `http`, `no_stream`. */
  readonly code: string;
  /** The gateway's reason, where it closed the stream (`drain`, `slow_reader`); else null. */
  readonly reason: string | null;
  /** It is tried again; false: the subscription is closed. */
  readonly retryable: boolean;
}

/** The gateway, or a proxy before it, has answered a request with an error status. */
export class Refused extends StreamError {
  readonly status: number;
  readonly retryAfterMs: number | null;
}

/** To be thrown by `getToken` when there is no session any more: it ends the subscription. */
export class Unauthorized extends StreamError {
  constructor(message?: string);
}
