import type {
  CheckpointSigned,
  ContentFound,
  ContentLost,
  ContentStored,
  ExcludedFromReuse,
  GenerationStarted,
  ImageForgotten,
  ImageRegistered,
  JobAttemptEnded,
  JobCancelled,
  JobCompleted,
  JobDeleted,
  JobFailed,
  JobJoined,
  JobLeft,
  JobLogAppended,
  JobPinned,
  JobProgressed,
  JobRequested,
  JobResumed,
  JobRetryIntended,
  JobReused,
  JobStarted,
  JobUnpinned,
  JobUpdated,
  QueuePaused,
  QueueResumed,
  ReinstatedForReuse,
  RepositoryAdded,
  RepositoryRemoved,
  RunNumbersTaken,
  SigningKeysChanged,
  SubmissionIntended,
  WorkerDrained,
  WorkerSeen,
  WorkerUndrained,
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
  | JobDeleted
  | JobAttemptEnded
  | JobResumed
  | JobJoined
  | JobLeft;

/** An event of a stream of exclusions. */
export type ExclusionEvent = ExcludedFromReuse | ReinstatedForReuse;

/** An event of what servers keep. */
export type ContentEvent = ContentStored | ContentLost | ContentFound;

/** Any event of the log. */
export type MemoirEvent =
  | JobEvent
  | JobReused
  | SubmissionIntended
  | JobRetryIntended
  | JobLogAppended
  | ContentEvent
  | JobPinned
  | JobUnpinned
  | ExclusionEvent
  | ImageRegistered
  | ImageForgotten
  | CheckpointSigned
  | GenerationStarted
  | RunNumbersTaken
  | SigningKeysChanged
  | WorkerSeen
  | WorkerDrained
  | WorkerUndrained
  | QueuePaused
  | QueueResumed
  | RepositoryAdded
  | RepositoryRemoved;
