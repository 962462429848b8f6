import type {
  JobCancelled,
  JobCompleted,
  JobDeleted,
  JobFailed,
  JobLogAppended,
  JobProgressed,
  JobRequested,
  JobReused,
  JobStarted,
  JobUpdated,
} from '../../gen/memoir/events/v1/events_pb.js';

/** An event of a job's own stream. */
export type JobEvent =
  | JobRequested
  | JobStarted
  | JobProgressed
  | JobCompleted
  | JobFailed
  | JobCancelled
  | JobUpdated
  | JobDeleted;

/** Any event of the log. */
export type MemoirEvent = JobEvent | JobReused | JobLogAppended;
