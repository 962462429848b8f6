import { quote } from '../../domain/errors.js';
import { type Position, type RecordedEvent, StoreUnreadable } from '../port.js';
import { splitOrigin } from './origin.js';
import type { SentEvent } from './wire/read-answer.js';

/** The event as the port has it. One that was imported is as it was recorded before, but for its position. */
export function recordedFrom(address: string, event: SentEvent): RecordedEvent {
  const { id, stream, data, revision } = event;
  const { metadata, recordedAt } = metadataOf(event.metadata);
  const plain = event.contentType !== 'application/json' || isMemoirs(metadata);
  return {
    id,
    type: event.type ?? '<no-event-type-provided>',
    stream,
    data: plain ? data : plainJson(data),
    metadata,
    revision: Number(revision),
    position: positionFrom(address, event.commit, () => `event ${revision} of stream ${quote(stream)}`),
    recordedAt: recordedAt ?? wholeSecond(event.created ?? '0'),
  };
}

const isImported = (metadata: string) => metadata.includes('"imported":');

/** Whether the metadata say that a Memoir wrote the event, and so as `JSON.stringify` does. */
const isMemoirs = (metadata: string) => metadata.startsWith('{"principal":') && metadata.includes('"serverVersion":');

/** Whether an event that is appended as JSON is read as it was given, whether it is as `JSON.stringify` writes it or not. */
export const comesBackAsItIs = ({ data, metadata }: Pick<RecordedEvent, 'data' | 'metadata'>): boolean =>
  isMemoirs(metadata) && !isImported(metadata) && !halfCharacter.test(data) && !halfCharacter.test(metadata);

/** Half of a character, which UTF-8 has not. */
const halfCharacter = /\p{Surrogate}/u;

/** JSON as `JSON.stringify` writes it, whoever wrote it and how: it is hashed, exported, and imported so. What is none is a string of it. */
function plainJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return JSON.stringify(text);
  }
}

/** Metadata without what an import added, and when the event was recorded before, in milliseconds. */
function metadataOf(text: string): { readonly metadata: string; readonly recordedAt?: number } {
  if (text === '' || (isMemoirs(text) && !isImported(text))) return { metadata: text };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { metadata: text };
  }
  const { metadata, origin } = splitOrigin(parsed);
  return { metadata: JSON.stringify(metadata), ...(origin && { recordedAt: origin.recordedAt }) };
}

/**
 * The time in milliseconds of a number of 100 ns since 1970, to the second: an event's time is in its hash, and those that were kept are of
 * times to the second.
 */
function wholeSecond(ticks: string): number {
  const seconds = Number(ticks.slice(0, -7));
  return Number.isSafeInteger(seconds) ? seconds * 1_000 : 0;
}

/**
 * The commit position as a safe integer.
 * @throws StoreUnreadable if it is too big, or if the server, as very old ones do, gives none
 */
export function positionFrom(address: string, commit: number | bigint | undefined, what: () => string): Position {
  const number = Number(commit);
  if (Number.isSafeInteger(number)) return number;
  if (commit === undefined || BigInt(commit) >= 2n ** 63n) {
    throw new StoreUnreadable(`KurrentDB at ${address} gives no position for ${what()}; it is too old for Memoir`);
  }
  throw new StoreUnreadable(
    `KurrentDB at ${address} has ${what()} at position ${commit}, beyond ${Number.MAX_SAFE_INTEGER}, the last that Memoir can use`,
  );
}

/**
 * The position of a checkpoint of a subscription; undefined if it is none. A subscription of a log in which nothing matches yet is
 * told the biggest 64-bit number, which is beyond the end of every log: who went on from there would never hear of an event.
 */
export function checkpointFrom(commit: number | bigint): Position | undefined {
  const number = Number(commit);
  return Number.isSafeInteger(number) ? number : undefined;
}
