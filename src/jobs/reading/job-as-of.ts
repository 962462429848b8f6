import type { Interest } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { PastReads } from '../../../projections/history/as-of.js';
import { jobFromRow } from '../../../projections/read-model/jobs.js';
import type { JobRecord } from '../../domain/job.js';
import { jobStream } from '../../domain/streams.js';
import type { EventStore } from '../../eventstore/port.js';
import { evolveRecorded } from './evolve-recorded.js';

/** A job as it was, with its attempts and who wanted it; undefined if there was none. */
export async function jobAsOf(
  store: Pick<EventStore, 'readStream'>,
  past: PastReads['jobs'],
  uuid: string,
): Promise<Job | undefined> {
  const row = past.get(uuid);
  if (!row) return undefined;
  const job = { ...jobFromRow(row), attempts: past.attempts(row) };
  if (job.interestCount > 0) job.interests = await interestsAsOf(store, job);
  return job;
}

/** Who wanted a job when it was at a revision, as its stream tells it. */
async function interestsAsOf(
  store: Pick<EventStore, 'readStream'>,
  { uuid, revision }: Pick<Job, 'uuid' | 'revision'>,
): Promise<Interest[]> {
  let record: JobRecord | undefined;
  for await (const recorded of store.readStream(jobStream(uuid))) {
    if (recorded.revision > revision) break;
    record = evolveRecorded(record, recorded);
  }
  return record?.job.interests ?? [];
}
