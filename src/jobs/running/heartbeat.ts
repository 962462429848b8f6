import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { canTakeBack, unheard } from '../../domain/attempt.js';
import type { HeartbeatCommand } from '../../domain/commands.js';
import { MemoirError } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import { jobStream } from '../../domain/streams.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { waker } from '../waker.js';

/**
 * Records a sign of life, then waits up to `waitMs` milliseconds while the attempt goes on, and gives the job as it is then. Less when
 * the signal aborts.
 * @throws MemoirError as `decide` refuses a heartbeat, also if the attempt ends during the wait and another begins; ABORTED LEASE_EXPIRED if
 * it is lost during the wait and can be taken back
 */
export async function heartbeat(
  { streams, readModel, edge }: JobsContext,
  caller: Caller,
  uuid: string,
  command: HeartbeatCommand,
  waitMs: number,
  signal: () => AbortSignal,
): Promise<JobRecord> {
  let { record } = await streams.execute(caller, uuid, command);
  if (waitMs === 0 || record.job.state !== JobState.RUNNING) return record;
  const changed = waker();
  const gone = signal();
  const unsubscribe = readModel.onChange(jobStream(uuid), changed.wake);
  const until = edge.monotonic() + waitMs;
  try {
    for (;;) {
      record = (await streams.load(uuid)) ?? record;
      if (canTakeBack(record, command)) throw lostMeanwhile(uuid);
      const foreign = unheard(record, command);
      if (foreign) throw foreign;
      const left = until - edge.monotonic();
      if (record.job.state !== JobState.RUNNING || left <= 0 || gone.aborted) return record;
      await changed.next(gone, left);
    }
  } finally {
    unsubscribe();
  }
}

/** The lease ran out while the answer was held back, and nobody claimed the job since: if the worker is there, it may say so once more. */
function lostMeanwhile(uuid: string): MemoirError {
  return new MemoirError(
    'ABORTED',
    'LEASE_EXPIRED',
    `the lease of job ${uuid} ran out while this heartbeat waited; the same heartbeat again takes the job back while nobody claims it`,
    { metadata: { uuid } },
  );
}
