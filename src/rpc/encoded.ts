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
  const bytes = toBinary(schema, embedding(schema)?.(message) ?? message);
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

/** Bytes of a job in its binary form, with its length before it; it is kept for when the job is answered. */
export function encodedJobLength(job: Job): number {
  return (kept.get(job) ?? encodeJob(job)).length;
}

function encodeJob(job: Job): Uint8Array {
  const data = new BinaryWriter().bytes(toBinary(JobSchema, job)).finish();
  if (data.length <= longestKept) kept.set(job, data);
  return data;
}

/** Puts jobs that were encoded before into a message. */
type Embed = (message: MessageShape<DescMessage>) => MessageShape<DescMessage>;

const embeddings = new WeakMap<DescMessage, { readonly embed: Embed | undefined }>();

/** How jobs are put into an answer: one of its own, or one in each of its results; undefined if it has none such. */
function embedding(schema: DescMessage): Embed | undefined {
  let known = embeddings.get(schema);
  if (!known) {
    known = { embed: embeddingOf(schema) };
    embeddings.set(schema, known);
  }
  return known.embed;
}

function embeddingOf(schema: DescMessage): Embed | undefined {
  const field = schema.fields.find(({ fieldKind, message }) => fieldKind === 'message' && message === JobSchema);
  if (field) return (message) => withKeptJob(field, message);
  for (const { fieldKind, message: inner, localName } of schema.fields) {
    const embed = fieldKind === 'list' && inner && inner !== schema ? embeddingOf(inner) : undefined;
    if (!embed) continue;
    return (message) => {
      const held = message as MessageShape<DescMessage> & Record<string, MessageShape<DescMessage>[]>;
      return { ...held, [localName]: held[localName]?.map(embed) } as never;
    };
  }
  return undefined;
}
