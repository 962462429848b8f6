import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { isFinished } from '../../domain/job.js';
import { jobStream } from '../../domain/streams.js';
import { StreamDeleted } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { waker } from '../waker.js';
import { evolveRecorded, jobDamaged } from './evolve-recorded.js';
import { readable } from './permit.js';

/** A job after one change. */
export type Change = {
  readonly job: Job;
  /** Name of the event; empty for the job as it was found. */
  readonly eventType: string;
};

/**
 * The job as it is now and after every change, none left out, until it has finished or the signal aborts. That others want it too, or no longer, is
 * a change only where it changes more of the job than who waits for it.
 * @throws MemoirError NOT_FOUND if there is no such job or the caller may not read it, or no longer; DATA_LOSS JOB_DAMAGED if its stream
 * was deleted or truncated
 */
export async function* watchJob(
  context: JobsContext,
  caller: Caller,
  uuid: string,
  signal: AbortSignal,
): AsyncGenerator<Change> {
  const { store, readModel, streams } = context;
  const stream = jobStream(uuid);
  const changed = waker();
  const unsubscribe = readModel.onChange(stream, changed.wake);
  try {
    let record = await streams.read(caller, uuid);
    let told = record.job;
    yield { job: told, eventType: '' };
    while (!isFinished(record.job.state) && !signal.aborted) {
      await changed.next(signal);
      for await (const recorded of store.readStream(stream, record.streamRevision + 1)) {
        const before = record.job.revision;
        record = evolveRecorded(record, recorded) ?? record;
        if (record.job.revision === before) continue;
        if (quiet.has(recorded.type) && !changes(told, record.job)) continue;
        told = record.job;
        yield { job: readable(caller, uuid, record).job, eventType: recorded.type };
      }
    }
  } catch (error) {
    throw error instanceof StreamDeleted ? jobDamaged(uuid, error) : error;
  } finally {
    unsubscribe();
  }
}

/** Types of events that may change no more than who waits for a job. */
const quiet: ReadonlySet<string> = new Set(['JobJoined', 'JobLeft']);

/** Whether more of a job changed than who waits for it. */
function changes(before: Job, after: Job): boolean {
  return before.priority !== after.priority || before.minima !== after.minima;
}
