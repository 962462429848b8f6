import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { unheard } from '../../domain/attempt.js';
import type { HeartbeatCommand } from '../../domain/commands.js';
import type { JobRecord } from '../../domain/job.js';
import { jobStream } from '../../domain/streams.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { waker } from '../waker.js';

/**
 * Records a sign of life, then waits up to `waitMs` milliseconds while the attempt goes on, and gives the job as it is then. Less when
 * the signal aborts.
 * @throws MemoirError as `decide` refuses a heartbeat, also if the attempt ends during the wait and another begins
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
