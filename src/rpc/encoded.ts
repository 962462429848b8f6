import { type DescField, type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Job, JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { remembering } from '../domain/remembering.js';

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
  const field = jobOf(schema);
  if (field) return withKeptJob(schema, field, message);
  const bytes = toBinary(schema, embedding(schema)?.(message) ?? message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Longest binary form of a job that is kept. */
const longestKept = 64 * 1024;

/** Jobs in their binary form, with its length before it, each as long as the message is: nobody alters one that was answered. */
const kept = new WeakMap<Job, Uint8Array>();

/** The binary form of a message that has a job, which is asked for again and again and is the same message each time: that stands last. */
function withKeptJob(schema: DescMessage, field: DescField, message: MessageShape<DescMessage>): Buffer {
  const { [field.localName]: job, ...rest } = message as MessageShape<DescMessage> & Record<string, Job | undefined>;
  const body = toBinary(schema, rest as unknown as MessageShape<DescMessage>);
  if (!job) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const data = kept.get(job) ?? encodeJob(job);
  const tag = tagOf(field);
  const bytes = Buffer.allocUnsafe(body.length + tag.length + data.length);
  bytes.set(body);
  bytes.set(tag, body.length);
  bytes.set(data, body.length + tag.length);
  return bytes;
}

/** What stands before a field that is a message. */
const tagOf = remembering((field: DescField) =>
  new BinaryWriter().tag(field.number, WireType.LengthDelimited).finish(),
);

/** A part of an answer with its job encoded, which stands among the unknown fields: the library writes these as they are. */
function partWithKeptJob(field: DescField, message: MessageShape<DescMessage>): MessageShape<DescMessage> {
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
  const body = toBinary(JobSchema, job);
  const length = new BinaryWriter().uint32(body.length).finish();
  const data = new Uint8Array(length.length + body.length);
  data.set(length);
  data.set(body, length.length);
  if (data.length <= longestKept) kept.set(job, data);
  return data;
}

/** Puts jobs that were encoded before into a message. */
type Embed = (message: MessageShape<DescMessage>) => MessageShape<DescMessage>;

/** The field of a message that is a job; undefined if it has none such. */
const jobOf = remembering(({ fields }: DescMessage) =>
  fields.find(({ fieldKind, message }) => fieldKind === 'message' && message === JobSchema),
);

/** How jobs are put into an answer that has one in each of its results; undefined if it has none such. */
const embedding = remembering(embeddingOf);

function embeddingOf(schema: DescMessage): Embed | undefined {
  const field = jobOf(schema);
  if (field) return (message) => partWithKeptJob(field, message);
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
