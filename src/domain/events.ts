import type {
  CheckpointSigned,
  ExcludedFromReuse,
  GenerationStarted,
  ImageForgotten,
  ImageRegistered,
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
  ReinstatedForReuse,
  RunNumbersTaken,
  SigningKeysChanged,
  SubmissionIntended,
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

/** An event of a stream of exclusions. */
export type ExclusionEvent = ExcludedFromReuse | ReinstatedForReuse;

/** Any event of the log. */
export type MemoirEvent =
  | JobEvent
  | JobReused
  | SubmissionIntended
  | JobLogAppended
  | ExclusionEvent
  | ImageRegistered
  | ImageForgotten
  | CheckpointSigned
  | GenerationStarted
  | RunNumbersTaken
  | SigningKeysChanged;
