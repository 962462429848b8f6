import type { JobJoined } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Minima } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';

/** A wish to be answered with an unfinished job. */
export type JoinCommand = {
  readonly kind: 'join';
  /** What is recorded, without what it makes of the job. */
  readonly joined: JobJoined;
  /** State that the job was in when it was decided on; absent if any will do in which it is unfinished. */
  readonly state?: JobState;
  /** Whether the job may ask for so much more of the place where it runs: undefined if it may, and else why not, for people. */
  readonly raisesMinima: (job: Job, minima: Minima) => string | undefined;
  readonly now: number;
};

/** Whose interests are meant, and only those not older than `since` and not younger than `until`, in milliseconds since 1970-01-01T00:00Z. */
export type Leaver = { readonly principal: string; readonly since?: number; readonly until?: number };

/** That interests in a job end. */
export type LeaveCommand = {
  readonly kind: 'leave';
  /** Principal that says so. */
  readonly principal: string;
  /** Whose interests are meant; absent for one's own. */
  readonly of?: readonly Leaver[];
  /** Which one; absent for the only one, or those without a submit_id. */
  readonly interest?: string;
  /** True for all of them. */
  readonly all?: boolean;
  readonly reason: 'WITHDRAWN' | 'CASCADE' | 'QUEUE_LIMIT';
  /** Uuid of the job whose cascade reached this one; empty if it is itself meant. */
  readonly cascadeFrom: string;
  readonly cascade: boolean;
  readonly now: number;
};
