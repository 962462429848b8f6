import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type JobRequested, JobRequestedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { jcsDigest } from '../domain/computation.js';

type Init = Exclude<MessageInitShape<typeof JobRequestedSchema>, JobRequested>;

/** What a request for another run of a job says of its own. */
type Own = Init & Required<Pick<Init, 'uuid' | 'owner' | 'runNumber' | 'priority' | 'turnWeight' | 'decision'>>;

/**
 * The request for another run of a job: what decides what is run, as the job was asked for with, at the commit that was resolved then.
 * By what the job is found, how long it may take and why there is another run is up to who asks.
 */
export function requestedAgain(old: Job, own: Own): JobRequested {
  const { scriptParameters = {} } = old;
  return create(JobRequestedSchema, {
    repository: old.repository,
    script: old.script,
    scriptVersion: old.scriptVersion,
    suppliedScriptVersion: old.scriptVersion,
    scriptParameters,
    ...(old.unhashedParameters && { unhashedParameters: old.unhashedParameters }),
    parametersDigest: jcsDigest(scriptParameters),
    computationDigest: old.computationDigest,
    dockerImageLocator: old.dockerImageLocator,
    arvadosSdkVersion: old.arvadosSdkVersion,
    nondeterministic: old.nondeterministic,
    leaveLfsPointers: old.leaveLfsPointers,
    leaveSubmodules: old.leaveSubmodules,
    codePaths: old.codePaths,
    codeDigest: old.codeDigest,
    requireOutput: old.requireOutput,
    requiredLabels: old.requiredLabels,
    inputs: old.inputs,
    secrets: old.secrets,
    ...(old.runtimeConstraints && { runtimeConstraints: old.runtimeConstraints }),
    ...(old.retry && { retry: old.retry }),
    ...own,
  });
}
