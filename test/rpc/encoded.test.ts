import { create, fromBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { CreateJobResponseSchema, GetJobResponseSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { encode } from '../../src/rpc/encoded.js';

test('an answer with a job is read as what it was, each time that the job is answered', (t) => {
  const job = create(JobSchema, { uuid: 'a', state: JobState.QUEUED, scriptParameters: { n: [1, null, { x: 'ü' }] } });
  for (const reused of [false, true, true]) {
    const answer = create(CreateJobResponseSchema, { job, reused, consistencyToken: 't' });
    t.deepEqual(fromBinary(CreateJobResponseSchema, encode(CreateJobResponseSchema, answer)), answer);
    t.is(answer.job, job, 'nothing is taken out of what was given');
    const got = create(GetJobResponseSchema, { job });
    t.deepEqual(fromBinary(GetJobResponseSchema, encode(GetJobResponseSchema, got)), got);
  }
  const after = { ...job, state: JobState.RUNNING };
  const answer = create(GetJobResponseSchema, { job: after });
  t.is(fromBinary(GetJobResponseSchema, encode(GetJobResponseSchema, answer)).job?.state, JobState.RUNNING);
});

test('an answer without its job has none', (t) => {
  t.is(encode(GetJobResponseSchema, create(GetJobResponseSchema)).length, 0);
});

test('a job that is too long to be kept is answered as every other', (t) => {
  const job = create(JobSchema, { uuid: 'a', description: 'd'.repeat(100_000) });
  const answer = create(GetJobResponseSchema, { job });
  t.deepEqual(fromBinary(GetJobResponseSchema, encode(GetJobResponseSchema, answer)), answer);
});
