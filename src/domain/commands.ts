import type { JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import type { TasksSummary } from '../../gen/memoir/jobs/v1/job_pb.js';

/** What can be asked of a job. `now` is in milliseconds since 1970-01-01T00:00Z; leases are in milliseconds. */
export type Command =
  | { readonly kind: 'request'; readonly requested: JobRequested }
  | { readonly kind: 'start'; readonly worker: string; readonly leaseMs: number; readonly now: number }
  | HeartbeatCommand
  | {
      readonly kind: 'complete';
      readonly worker: string;
      readonly output: string;
      readonly log: string;
      readonly tasksSummary?: TasksSummary | undefined;
      readonly now: number;
    }
  | FailCommand
  | { readonly kind: 'expire_lease'; readonly leaseRevision: number; readonly now: number }
  | { readonly kind: 'cancel'; readonly principal: string; readonly cascadeFrom: string; readonly now: number }
  | UpdateCommand
  | { readonly kind: 'delete'; readonly now: number };

/** A worker's sign of life; what is absent stays as it is. */
export type HeartbeatCommand = {
  readonly kind: 'heartbeat';
  readonly worker: string;
  readonly leaseMs?: number | undefined;
  readonly tasksSummary?: TasksSummary | undefined;
  readonly progress?: number | undefined;
  readonly progressMessage?: string | undefined;
  readonly now: number;
};

/** A worker's report that the run ended without success. */
export type FailCommand = {
  readonly kind: 'fail';
  readonly worker: string;
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
  readonly now: number;
};
