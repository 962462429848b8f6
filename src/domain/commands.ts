import type { JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import type { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Digest } from '../../gen/memoir/jobs/v1/digest_pb.js';
import type { TasksSummary } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Ran } from '../../gen/memoir/jobs/v1/ran_pb.js';
import type { JoinCommand, LeaveCommand } from './interests/commands.js';
import type { Offering } from './placement/requirements.js';

/** What can be asked of a job. `now` is in milliseconds since 1970-01-01T00:00Z; leases are in milliseconds. */
export type Command =
  | { readonly kind: 'request'; readonly requested: JobRequested }
  | StartCommand
  | HeartbeatCommand
  | CompleteCommand
  | FailCommand
  | ExpireLeaseCommand
  | ExpireRunCommand
  | CancelCommand
  | UpdateCommand
  | JoinCommand
  | LeaveCommand
  | { readonly kind: 'delete'; readonly principal: string; readonly now: number };

/** Who speaks for an attempt to run a job. */
export type Speaker = {
  /** Principal of the worker. */
  readonly worker: string;
  /** SHA-256 of the claim token that the call carries, in hexadecimal digits; absent if it carries none. */
  readonly tokenDigest?: string | undefined;
};

/** What ends attempts that another may follow. */
type Chance = {
  /** From 0 to below 1: what the back-off is drawn with. Absent where no other attempt may follow, so that the job fails. */
  readonly chance?: number | undefined;
};

/** That a lease ran out. */
export type ExpireLeaseCommand = Chance & {
  readonly kind: 'expire_lease';
  readonly leaseRevision: number;
  readonly now: number;
};

/** That an attempt takes longer than its job allows, which its worker should have seen. */
export type ExpireRunCommand = Chance & {
  readonly kind: 'expire_run';
  /** Number of the attempt. */
  readonly attempt: number;
  readonly now: number;
};

/** A worker's wish to run the job. */
export type StartCommand = Speaker & {
  readonly kind: 'start';
  /** Whether the server made the token, since the worker sent none. */
  readonly tokenMade?: boolean;
  /** What the worker calls itself beside its principal. */
  readonly workerName?: string;
  /** What it offers, which must fit the job; absent where offers are not looked at. */
  readonly offering?: Offering | undefined;
  readonly leaseMs: number;
  /** Revision of the event whose back-off has passed here; absent if none has. */
  readonly waited?: number | undefined;
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
  /** A stable word for why; absent for none. */
  readonly reason?: 'FOR_EVERYONE';
  /** Whether it is refused where others than the principal, or more than one, want the job. */
  readonly unlessShared?: boolean;
  readonly now: number;
};

/** What of a report servers keep; absent of what they do not. The addresses are then those of the digests. And what the attempt ran in. */
type Kept = {
  readonly ran?: Ran | undefined;
  readonly outputDigest?: Digest | undefined;
  readonly logDigest?: Digest | undefined;
};

/** A worker's report that the run ended with success. */
export type CompleteCommand = Speaker &
  Chance &
  Kept & {
    readonly kind: 'complete';
    /** With `outputDigest`: address that the same files have as a manifest. */
    readonly outputV1?: string | undefined;
    /** What the image that the job names is known by, empty if that is not known; absent where a run need not state it. */
    readonly imageHash?: string | undefined;
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
export type FailCommand = Speaker &
  Chance &
  Kept & {
    readonly kind: 'fail';
    /** Whose fault it is; the script's unless given. */
    readonly fault?: Fault;
    /** Content address of what it had made until then; empty if there is none. */
    readonly output?: string;
    /** Whether the worker gives the job back in good order. */
    readonly givenBack?: boolean;
    readonly reason: string;
    readonly message: string;
    readonly log: string;
    readonly tasksSummary?: TasksSummary | undefined;
    readonly now: number;
  };

/** New values of what may change; what is absent stays as it is. */
export type UpdateCommand = {
  readonly kind: 'update';
  /** Principal that changes it. */
  readonly principal?: string;
  /** That the priority is of interests of the principal: the one named, or the only one, or those without a submit_id; absent for that of the job. */
  readonly whose?: { readonly interest?: string };
  readonly expectedRevision?: number | undefined;
  readonly priority?: number | undefined;
  readonly description?: string | undefined;
  readonly components?: Readonly<Record<string, string>> | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly now: number;
};
