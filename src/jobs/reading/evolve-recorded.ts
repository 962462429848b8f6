import { MemoirError } from '../../domain/errors.js';
import type { JobEvent } from '../../domain/events.js';
import { evolve, passOver } from '../../domain/evolve.js';
import type { JobRecord } from '../../domain/job.js';
import { uuidOfJobStream } from '../../domain/streams.js';
import { judged } from '../../eventstore/foreign.js';
import type { RecordedEvent } from '../../eventstore/port.js';

/**
 * The job after an event of its stream, which is passed over where no Memoir wrote it or it is malformed; undefined while there is none.
 * @throws MemoirError DATA_LOSS JOB_DAMAGED if the stream does not begin with the request of the job
 */
export function evolveRecorded(record: JobRecord | undefined, recorded: RecordedEvent): JobRecord | undefined {
  const { event } = judged(recorded);
  if (record)
    return event
      ? evolve(record, event as JobEvent, recorded.revision, recorded.id)
      : passOver(record, recorded.revision);
  if (event?.$typeName === 'memoir.events.v1.JobRequested')
    return evolve(undefined, event, recorded.revision, recorded.id);
  // Of what others wrote into a stream that no job has, nothing is known.
  if (!event && recorded.revision === 0) return undefined;
  throw jobDamaged(uuidOfJobStream(recorded.stream));
}

/** The error for a job whose stream no longer begins at its first event: what it was cannot be known. */
export function jobDamaged(uuid: string, cause?: unknown): MemoirError {
  return new MemoirError(
    'DATA_LOSS',
    'JOB_DAMAGED',
    `job ${uuid} is damaged: its stream in the event store does not begin with its request any more, since somebody truncated or deleted it`,
    { metadata: { uuid }, ...(cause !== undefined && { cause }) },
  );
}

/** Whether an error says that a job is damaged. */
export function isJobDamaged(error: unknown): boolean {
  return error instanceof MemoirError && error.reason === 'JOB_DAMAGED';
}
