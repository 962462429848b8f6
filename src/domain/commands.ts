import type { JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import type { TasksSummary } from '../../gen/memoir/jobs/v1/job_pb.js';

/** What can be asked of a job. `now` is in milliseconds since 1970-01-01T00:00Z; leases are in milliseconds. */
export type Command =
  | { readonly kind: 'request'; readonly requested: JobRequested }
  | StartCommand
  | HeartbeatCommand
  | CompleteCommand
  | FailCommand
  | { readonly kind: 'expire_lease'; readonly leaseRevision: number; readonly now: number }
  | CancelCommand
  | UpdateCommand
  | { readonly kind: 'delete'; readonly principal: string; readonly now: number };

/** Who speaks for an attempt to run a job. */
export type Speaker = {
  /** Principal of the worker. */
  readonly worker: string;
  /** SHA-256 of the claim token that the call carries, in hexadecimal digits; absent if it carries none. */
  readonly tokenDigest?: string | undefined;
};

/** A worker's wish to run the job. */
export type StartCommand = Speaker & {
  readonly kind: 'start';
  /** Whether the server made the token, since the worker sent none. */
  readonly tokenMade?: boolean;
  /** What the worker calls itself beside its principal. */
  readonly workerName?: string;
  readonly leaseMs: number;
  readonly now: number;
};

/** A wish that the job be given up. */
export type CancelCommand = {
  readonly kind: 'cancel';
  readonly principal: string;
  /** Uuid of the job whose cascade reached this one; empty if it is itself to be cancelled. */
  readonly cascadeFrom: string;
  /** Whether what it started is to be cancelled too. */
  readonly cascade?: boolean;
  readonly now: number;
};

/** A worker's report that the run ended with success. */
export type CompleteCommand = Speaker & {
  readonly kind: 'complete';
  readonly output: string;
  readonly log: string;
  readonly tasksSummary?: TasksSummary | undefined;
  readonly now: number;
};

/** A worker's sign of life; what is absent stays as it is. */
export type HeartbeatCommand = Speaker & {
  readonly kind: 'heartbeat';
  readonly leaseMs?: number | undefined;
  readonly tasksSummary?: TasksSummary | undefined;
  readonly progress?: number | undefined;
  readonly progressMessage?: string | undefined;
  readonly now: number;
};

/** A worker's report that the run ended without success. */
export type FailCommand = Speaker & {
  readonly kind: 'fail';
  readonly reason: string;
  readonly message: string;
  readonly log: string;
  readonly tasksSummary?: TasksSummary | undefined;
  readonly now: number;
};

/** New values of what may change; what is absent stays as it is. */
export type UpdateCommand = {
  readonly kind: 'update';
  readonly expectedRevision?: number | undefined;
  readonly priority?: number | undefined;
  readonly description?: string | undefined;
  readonly components?: Readonly<Record<string, string>> | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly now: number;
};
