import type { MemoirEvent } from '../domain/events.js';
import { jobStream } from '../domain/streams.js';
import { decodeEvent, eventTypes } from './codec.js';
import type { EventLog, RecordedEvent } from './port.js';

// The one rule by which every reader of the log tells what Memoir wrote from what it did not, or what cannot be read: that is passed
// over. It changes nothing, but its revision is taken.

/** What only explains an event; it may be hundreds of times as big as the rest, and is not what the event does. */
export const explaining: readonly string[] = ['decision', 'basis'];

/** An event as the rule has it: what it says, or why it is passed over. */
export type Judged =
  | { readonly event: MemoirEvent; readonly why?: undefined }
  | { readonly event?: undefined; readonly why: string };

type Judging = Pick<RecordedEvent, 'type' | 'data' | 'metadata' | 'stream' | 'revision' | 'untrusted'>;

/** What the names of the streams of a type begin with. */
const places: readonly (readonly [prefix: string, types: readonly string[]])[] = [
  [
    'job-',
    [
      'JobRequested',
      'JobStarted',
      'JobProgressed',
      'JobCompleted',
      'JobFailed',
      'JobCancelled',
      'JobUpdated',
      'JobDeleted',
      'JobAttemptEnded',
      'JobResumed',
      'JobJoined',
      'JobLeft',
    ],
  ],
  ['reuse-', ['JobReused']],
  ['joblog-', ['JobLogAppended']],
  ['image-', ['ImageRegistered', 'ImageForgotten']],
  ['exclusion-', ['ExcludedFromReuse', 'ReinstatedForReuse']],
  ['checkpoint-', ['CheckpointSigned']],
  ['submit-', ['SubmissionIntended']],
  ['retry-', ['JobRetryIntended']],
  ['log-', ['GenerationStarted', 'RunNumbersTaken', 'SigningKeysChanged']],
  ['worker-', ['WorkerSeen', 'WorkerDrained', 'WorkerUndrained']],
  ['queue-', ['QueuePaused', 'QueueResumed']],
  ['content-', ['ContentStored', 'ContentLost', 'ContentFound']],
  ['pin-', ['JobPinned', 'JobUnpinned']],
  ['repository-', ['RepositoryAdded', 'RepositoryRemoved']],
];
const prefixOf: ReadonlyMap<string, string> = new Map(
  places.flatMap(([prefix, types]) => types.map((type) => [type, prefix] as const)),
);
const known = new Set(eventTypes);

/** The event without what only explains it, or why it is passed over. An event of a type that this version does not know is. */
export function judged(recorded: Judging): Judged {
  return judgedBy(recorded, (one) => decodeEvent(one, explaining));
}

/** The event, without what explains it where that cannot be read. @throws StoreUnreadable as `decodeEvent` */
export function wholeEvent(recorded: Judging): MemoirEvent {
  try {
    return decodeEvent(recorded);
  } catch {
    return decodeEvent(recorded, explaining);
  }
}

function judgedBy(recorded: Judging, decode: (recorded: Judging) => MemoirEvent): Judged {
  const why = foreignEnvelope(recorded);
  if (why !== undefined) return { why };
  if (!known.has(recorded.type)) return { why: 'this version does not know its type' };
  const misplaced = misplacedBy(recorded);
  if (misplaced !== undefined) return { why: misplaced };
  try {
    const event = decode(recorded);
    if (event.$typeName === 'memoir.events.v1.JobRequested' && jobStream(event.uuid) !== recorded.stream) {
      return { why: 'it requests a job in the stream of another' };
    }
    return { event };
  } catch (error) {
    return { why: (error as Error).message };
  }
}

/**
 * Why no reader is given the event; undefined if it may be. One of a type that this version does not know may be, without what it
 * says, if it was recorded as Memoir does.
 */
export function whyForeign(recorded: Judging): string | undefined {
  return known.has(recorded.type) ? judged(recorded).why : foreignEnvelope(recorded);
}

/**
 * What readers are given of an event: what it says, whole as far as that can be read, or nothing of that if this version does not know its
 * type. Undefined if they are not given the event, as `whyForeign` has it.
 */
export function givenOf(recorded: Judging): { readonly event: MemoirEvent | undefined } | undefined {
  if (!known.has(recorded.type)) return foreignEnvelope(recorded) === undefined ? { event: undefined } : undefined;
  const { event } = judgedBy(recorded, wholeEvent);
  return event && { event };
}

/** The events of a stream from its last one back: one page of one, and only where that is passed over the others. */
export async function* lastFirst(log: Pick<EventLog, 'readStream'>, stream: string): AsyncGenerator<RecordedEvent> {
  let next: number | undefined;
  for (let limit = 1; ; limit = 100) {
    let count = 0;
    for await (const recorded of log.readStream(stream, next, { direction: 'backwards', limit })) {
      count++;
      next = recorded.revision - 1;
      yield recorded;
    }
    if (count < limit || (next ?? -1) < 0) return;
  }
}

/** Why an event cannot be Memoir's, whatever it says; undefined if it may be. */
export function foreignEnvelope({ type, metadata, revision, untrusted }: Judging): string | undefined {
  if (!Number.isSafeInteger(revision)) return 'it marks the end of a stream that was deleted for good';
  if (type.startsWith('$')) return 'it is one of the store itself';
  return isMetadata(metadata) ? untrusted : 'its metadata are not those of an event of Memoir';
}

const texts = ['principal', 'requestId', 'traceparent', 'serverVersion'];

/** What `metadataJson` gives where no text needs an escape: nearly all, and each is looked at in every replay. */
const usual =
  /^\{"principal":"[ !#-[\]-\u{10ffff}]*","requestId":"[ !#-[\]-\u{10ffff}]*","serverVersion":"[ !#-[\]-\u{10ffff}]*"(?:,"credential":\{"kind":"[a-z]*","id":"[ !#-[\]-~]*"\})?(?:,"actor":"[ !#-[\]-~]*")?\}$/u;

function isMetadata(text: string): boolean {
  if (usual.test(text)) return true;
  try {
    const value = JSON.parse(text) as Record<string, unknown> | null;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    return texts.every((name) => value[name] === undefined || typeof value[name] === 'string');
  } catch {
    return false;
  }
}

function misplacedBy({ type, stream, revision }: Judging): string | undefined {
  const prefix = prefixOf.get(type);
  if (prefix !== undefined && !stream.startsWith(prefix)) return `it stands in a stream where no ${type} can be`;
  if (prefix !== 'job-') return undefined;
  if (type === 'JobRequested' && revision !== 0) return 'it requests a job that is there, or was';
  return undefined;
}
