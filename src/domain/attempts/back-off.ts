import { durationMs } from '@bufbuild/protobuf/wkt';
import type { JobAttemptEnded } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../errors.js';

/** How long a job that is queued again is given to nobody, and from which event. */
export type BackOff = {
  /** In milliseconds, above 0; counted by each server from when it saw the event. */
  readonly ms: number;
  /** Revision of the event. */
  readonly revision: number;
};

/** The back-off that begins with the end of an attempt; undefined if it has none. */
export function backOffOf({ backOff }: JobAttemptEnded, revision: number): BackOff | undefined {
  const ms = backOff ? durationMs(backOff) : 0;
  return ms > 0 ? { ms, revision } : undefined;
}

/** The error for a claim of a job whose back-off has not passed here. */
export function backingOff({ uuid }: Job, { ms }: BackOff): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'BACKING_OFF',
    `job ${uuid} is tried again ${ms / 1_000} s after its last attempt ended, and that has not passed yet`,
    { metadata: { uuid, back_off_ms: String(ms) } },
  );
}
