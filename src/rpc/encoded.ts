import { type DescField, type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Job, JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';

/** A message in its binary form, made once to be sent in many calls. */
export class Encoded<Desc extends DescMessage> {
  readonly schema: Desc;
  readonly bytes: Buffer;

  constructor(schema: Desc, message: MessageShape<Desc>) {
    this.schema = schema;
    this.bytes = binary(schema, message);
  }
}

/** The binary form of what a handler gave: a message of the schema, or one that was encoded before. */
export function encode(schema: DescMessage, given: unknown): Buffer {
  return given instanceof Encoded ? given.bytes : binary(schema, given as MessageShape<DescMessage>);
}

function binary(schema: DescMessage, message: MessageShape<DescMessage>): Buffer {
  const field = jobField(schema);
  const bytes = toBinary(schema, field ? withKeptJob(field, message) : message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Longest binary form of a job that is kept. */
const longestKept = 64 * 1024;

/** Jobs in their binary form, with its length before it, each as long as the message is: nobody alters one that was answered. */
const kept = new WeakMap<Job, Uint8Array>();

/**
 * The message with its job encoded, since a job that is asked for again and again is the same message each time. It stands among the
 * unknown fields, which the library writes as they are.
 */
function withKeptJob(field: DescField, message: MessageShape<DescMessage>): MessageShape<DescMessage> {
  const { [field.localName]: job, ...rest } = message as MessageShape<DescMessage> & Record<string, Job | undefined>;
  if (!job) return message;
  const data = kept.get(job) ?? encodeJob(job);
  const { $unknown: unknown = [] } = message;
  return { ...rest, $unknown: [...unknown, { no: field.number, wireType: WireType.LengthDelimited, data }] } as never;
}

function encodeJob(job: Job): Uint8Array {
  const data = new BinaryWriter().bytes(toBinary(JobSchema, job)).finish();
  if (data.length <= longestKept) kept.set(job, data);
  return data;
}

const jobFields = new WeakMap<DescMessage, { readonly field: DescField | undefined }>();

/** The field of an answer that is one job. */
function jobField(schema: DescMessage): DescField | undefined {
  let known = jobFields.get(schema);
  if (!known) {
    known = { field: schema.fields.find(({ fieldKind, message }) => fieldKind === 'message' && message === JobSchema) };
    jobFields.set(schema, known);
  }
  return known.field;
}
