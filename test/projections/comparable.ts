import { toJson } from '@bufbuild/protobuf';
import { type Job, JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';

/** A job as rows and events both have it: without who waits for it and what that makes of what it asks for. */
export function comparable(job: Job) {
  const { minima: _, waitingSince: __, ...rest } = { ...job, interests: [], interestCount: 0 };
  return toJson(JobSchema, rest as Job);
}
