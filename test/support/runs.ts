import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateJobRequestSchema, CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { RanSchema } from '../../gen/memoir/jobs/v1/ran_pb.js';
import type { Clients } from './server.js';

type Request = MessageInitShape<typeof CreateJobRequestSchema>;

/** An offer that fits every job which asks for no labels. */
export const plenty = {
  cores: 1_000_000,
  ramMb: 2n ** 40n,
  scratchMb: 2n ** 40n,
  imageRuntimes: ['podman'],
  codePaths: true,
};

/** Requests a job of `project`'s `run.sh`; what is given replaces the defaults. */
export function request(clients: Clients, more: Request = {}): Promise<CreateJobResponse> {
  return clients.jobs.createJob({ repository: 'project', script: 'run.sh', scriptVersion: 'main', ...more });
}

/** Requests the same with find_or_create. */
export function find(clients: Clients, more: Request = {}): Promise<CreateJobResponse> {
  return request(clients, { findOrCreate: true, ...more });
}

/** The uuid of the job that the request was answered with. */
export function uuidOf({ job }: Pick<CreateJobResponse, 'job'>): string {
  if (!job) throw new Error('the answer holds no job');
  return job.uuid;
}

/** Claims a job and completes it, in the image that it names, and waits until reads see it. */
export async function complete(worker: Clients, uuid: string, output = 'sha256:out', log = 'sha256:log') {
  const { job } = await worker.worker.claimJob({ uuid, offer: plenty });
  const ran = ranIn(job?.dockerImageLocator ?? '');
  const { consistencyToken } = await worker.worker.completeJob({ uuid, output, log, ...(ran && { ran }) });
  await worker.jobs.getJob({ uuid, consistencyToken });
}

/** What a worker states of a run in an image with such a locator as Memoir gives, which ends with the hash; undefined for none. */
export function ranIn(locator: string): MessageInitShape<typeof RanSchema> | undefined {
  const [hash] = /sha256:[0-9a-f]{64}$/.exec(locator) ?? [];
  if (locator === '' || hash === undefined) return undefined;
  return { runtime: 'podman', runtimeVersion: '4.3.1', image: { locator, manifestDigest: hash } };
}

/** Claims a job and fails it, and waits until reads see it. */
export async function fail(worker: Clients, uuid: string) {
  await worker.worker.claimJob({ uuid, offer: plenty });
  const { consistencyToken } = await worker.worker.failJob({ uuid, reason: 'SCRIPT_FAILED', message: 'exit status 1' });
  await worker.jobs.getJob({ uuid, consistencyToken });
}
