import type { Interest } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { JobRecord } from '../../domain/job.js';
import { jobStream } from '../../domain/streams.js';
import type { EventStore } from '../../eventstore/port.js';
import { evolveRecorded } from './evolve-recorded.js';

/** Who wanted a job when it was at a revision, as its stream tells it. */
export async function interestsAsOf(
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
