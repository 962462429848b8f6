import type { DescField, DescMessage, DescMethod, DescService, Message } from '@bufbuild/protobuf';
import type { RecordedEvent } from '../../gen/memoir/history/v1/history_service_pb.js';
import { RecordedEventSchema } from '../../gen/memoir/history/v1/history_service_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { uuidOfAnyJobStream } from '../domain/streams.js';
import type { JobFacts } from '../jobs/reading/permit.js';
import { hidesCaller, type Reader, redactEvent, redactJob } from '../jobs/reading/redact.js';
import type { CallContext } from './call.js';
import { Encoded } from './encoded.js';
import { readableEvent, readableJob } from './messages/deep-parameters.js';
import type { Implementation } from './service.js';

/** Leaves out of a message what its reader may not know. */
type Redaction = (reader: Reader, message: Message) => Message;

/** The messages that hold what was made with another caller's eyes. */
const redactions: ReadonlyMap<string, Redaction> = new Map<string, Redaction>([
  [JobSchema.typeName, (reader, job) => redactJob(reader, readableJob(job as Job))],
  [RecordedEventSchema.typeName, (reader, event) => redactRecorded(reader, event as RecordedEvent)],
]);

/** The event as a reader may know it; the same one if there is nothing to leave out. */
export function redactRecorded(reader: Reader, given: RecordedEvent): RecordedEvent {
  const recorded = readableEvent(given);
  const { event, metadata } = recorded;
  if (!event.value) return recorded;
  const principal = metadata?.principal ?? '';
  const uuid = uuidOfAnyJobStream(recorded.stream) ?? '';
  const value = redactEvent(reader, principal, event.value, uuid);
  if (value === event.value) return recorded;
  const told = { ...recorded, event: { case: event.case, value } as typeof event };
  if (!metadata || !hidesCaller(reader, principal, event.value, uuid)) return told;
  return { ...told, metadata: { ...metadata, principal: '', requestId: '', traceparent: '' } };
}

/**
 * A service whose every answer holds only what its caller may know: jobs and events are found wherever the contract has them, so that
 * no method can forget it. Messages that were encoded before are left as they are; whoever encodes one for many callers redacts it.
 */
export function redacting<S extends DescService>(
  service: S,
  implementation: Implementation<S>,
  facts: JobFacts,
): Implementation<S> {
  const bound: Record<string, unknown> = {};
  for (const method of service.methods) {
    const handler = implementation[method.localName as keyof S['method']] as unknown as Handler;
    bound[method.localName] = redacted(method, handler, facts);
  }
  return bound as Implementation<S>;
}

type Handler = (request: never, call: CallContext) => Promise<Message> | AsyncIterable<Message | Encoded<DescMessage>>;

function redacted({ output }: DescMethod, handler: Handler, facts: JobFacts): Handler {
  const redact = redactionOf(output);
  if (!redact) return handler;
  return (request, call) => {
    const answer = handler(request, call);
    const told = (message: Message) => redact({ access: call.access(), facts }, message);
    return answer instanceof Promise ? answer.then(told) : each(answer, told);
  };
}

async function* each(
  messages: AsyncIterable<Message | Encoded<DescMessage>>,
  told: (message: Message) => Message,
): AsyncGenerator<Message | Encoded<DescMessage>> {
  for await (const message of messages) yield message instanceof Encoded ? message : told(message);
}

/** How to redact messages of a type; undefined if they never hold anything to leave out. */
export function redactionOf(type: DescMessage, within: ReadonlySet<string> = new Set()): Redaction | undefined {
  const own = redactions.get(type.typeName);
  if (own || within.has(type.typeName)) return own;
  const inner = new Set(within).add(type.typeName);
  const parts = type.fields.flatMap((field) => {
    const message = messageOf(field);
    const redact = message && redactionOf(message, inner);
    return redact ? [partOf(field, redact)] : [];
  });
  if (parts.length === 0) return undefined;
  return (reader, message) => parts.reduce((told, part) => part(reader, told), message);
}

function messageOf(field: DescField): DescMessage | undefined {
  if (field.fieldKind === 'message') return field.message;
  const held = field.fieldKind === 'list' ? field.listKind : field.fieldKind === 'map' ? field.mapKind : undefined;
  return held === 'message' ? (field as { readonly message?: DescMessage }).message : undefined;
}

/** Redacts one field of a message. */
function partOf({ localName, oneof, fieldKind }: DescField, redact: Redaction): Redaction {
  return (reader, message) => {
    const values = message as unknown as Record<string, unknown>;
    const chosen = oneof && (values[oneof.localName] as { readonly case?: string; readonly value?: unknown });
    const value = chosen ? (chosen.case === localName ? chosen.value : undefined) : values[localName];
    if (value === undefined) return message;
    const told = redactValue(fieldKind, value, (one) => redact(reader, one));
    if (told === value) return message;
    return { ...message, ...(oneof ? { [oneof.localName]: { case: localName, value: told } } : { [localName]: told }) };
  };
}

function redactValue(kind: DescField['fieldKind'], value: unknown, redact: (one: Message) => Message): unknown {
  if (kind === 'list') return (value as Message[]).map(redact);
  if (kind !== 'map') return redact(value as Message);
  return Object.fromEntries(Object.entries(value as Record<string, Message>).map(([key, one]) => [key, redact(one)]));
}
