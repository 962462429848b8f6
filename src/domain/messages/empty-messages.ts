import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { type JobRequested, JobRequestedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { type CreateJobRequest, CreateJobRequestSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';

// Messages of many fields are read into these, each made in one literal. An object to which more than some sixteen fields are added by computed names, as
// `create` of the library does, becomes a hash table for V8: it takes several times as long to make and to copy, and nine times the memory.

const jobRequested = (): JobRequested => ({
  $typeName: JobRequestedSchema.typeName,
  uuid: '',
  owner: '',
  repository: '',
  script: '',
  scriptVersion: '',
  suppliedScriptVersion: '',
  parametersDigest: '',
  computationDigest: '',
  runNumber: 0,
  dockerImageLocator: '',
  arvadosSdkVersion: '',
  priority: 0,
  submitId: '',
  requestDigest: '',
  nondeterministic: false,
  description: '',
  components: {},
  requireOutput: false,
  labels: {},
  requiredLabels: {},
  retryOf: '',
  inputs: [],
  checkOf: '',
  codePaths: [],
  codeDigest: '',
  secrets: [],
  supersede: false,
});

const createJobRequest = (): CreateJobRequest => ({
  $typeName: CreateJobRequestSchema.typeName,
  repository: '',
  script: '',
  scriptVersion: '',
  findOrCreate: false,
  nondeterministic: false,
  priority: 0,
  submitId: '',
  description: '',
  components: {},
  filters: [],
  minimumScriptVersion: '',
  excludeScriptVersions: [],
  leaveLfsPointers: false,
  leaveSubmodules: false,
  requireOutput: false,
  labels: {},
  requiredLabels: {},
  inputs: [],
  onlyNamedInputs: false,
  codePaths: [],
  wholeCommit: false,
  secrets: [],
  explainMisses: false,
  supersede: false,
});

/** Schemas of the messages that are made in one literal. */
export const inOneLiteral: ReadonlyMap<DescMessage, () => MessageShape<DescMessage>> = new Map<
  DescMessage,
  () => MessageShape<DescMessage>
>([
  [JobRequestedSchema, jobRequested],
  [CreateJobRequestSchema, createJobRequest],
]);

/** A message of the schema with no field set, as `create` gives it. */
export function emptyMessage<Desc extends DescMessage>(schema: Desc): MessageShape<Desc> {
  return (inOneLiteral.get(schema)?.() ?? create(schema)) as MessageShape<Desc>;
}
