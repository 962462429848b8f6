import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { canTakeBack, unheard } from '../../domain/attempt.js';
import type { Speaker } from '../../domain/commands.js';
import type { JobRecord } from '../../domain/job.js';
import { wrongState } from '../../domain/job-state.js';
import type { Caller } from '../caller.js';
import type { JobStreams } from '../job-streams.js';
import { permitted } from '../reading/permit.js';

/**
 * The job whose attempt a caller speaks for: it runs, or was lost and can be taken back.
 * @throws MemoirError NOT_FOUND if the caller may not know of the job; PERMISSION_DENIED, FAILED_PRECONDITION ATTEMPT_ENDED, WRONG_STATE if it
 * does not speak for the attempt
 */
export async function claimedAttempt(
  streams: Pick<JobStreams, 'loadFor'>,
  caller: Caller,
  uuid: string,
  tokenDigest: string | undefined,
): Promise<JobRecord> {
  const record = permitted(caller, uuid, await streams.loadFor(caller, uuid, 'heartbeat'), 'heartbeat');
  const speaker: Speaker = { worker: caller.principal, tokenDigest };
  if (canTakeBack(record, speaker)) return record;
  const why = unheard(record, speaker);
  if (why) throw why;
  if (record.job.state !== JobState.RUNNING) throw wrongState(record.job, JobState.RUNNING);
  return record;
}

/** What an attempt is called among all. */
export const attemptKey = ({ job, attempt }: Pick<JobRecord, 'job' | 'attempt'>): string =>
  `${job.uuid}/${attempt?.number ?? 1}`;
