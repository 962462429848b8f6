import { toJson } from '@bufbuild/protobuf';
import { type Job, JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';

/** A job as rows and events both have it: with what it asks for, how many wait for it, since when and who. */
export function comparable(job: Job) {
  return toJson(JobSchema, job);
}
