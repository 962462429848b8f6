import type { RecordedEvent as KurrentEvent } from '@kurrent/kurrentdb-client';
import { quote } from '../../domain/errors.js';
import { type Position, type RecordedEvent, StoreUnreadable } from '../port.js';
import { splitOrigin } from './origin.js';

/** The event as the port has it. One that was imported is as it was recorded before, but for its position. */
export function recordedFrom(address: string, event: KurrentEvent): RecordedEvent {
  const { id, type, streamId: stream, data, created, revision, position } = event;
  const { metadata, origin } = splitOrigin(event.metadata);
  return {
    id,
    type,
    stream,
    data: textOf(data),
    metadata: metadata === undefined ? '' : textOf(metadata),
    revision: Number(revision),
    position: positionFrom(address, position?.commit, `event ${revision} of stream ${quote(stream)}`),
    recordedAt: origin?.recordedAt ?? wholeSecond(created),
  };
}

/**
 * The client gives the time in milliseconds to subscriptions and in seconds to reads. An event must be the same however it is read: its
 * time is in its hash.
 */
function wholeSecond(time: Date): number {
  return Math.floor(time.getTime() / 1_000) * 1_000;
}

/**
 * The commit position as a safe integer.
 * @throws StoreUnreadable if it is too big, or if the server, as very old ones do, gives none
 */
export function positionFrom(address: string, commit: bigint | undefined, what: string): Position {
  if (commit !== undefined && commit <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(commit);
  if (commit === undefined || commit >= 2n ** 63n) {
    throw new StoreUnreadable(`KurrentDB at ${address} gives no position for ${what}; it is too old for Memoir`);
  }
  throw new StoreUnreadable(
    `KurrentDB at ${address} has ${what} at position ${commit}, beyond ${Number.MAX_SAFE_INTEGER}, the last that Memoir can use`,
  );
}

/**
 * The position of a checkpoint of a subscription; undefined if it is none. A subscription of a log in which nothing matches yet is
 * told the biggest 64-bit number, which is beyond the end of every log: who went on from there would never hear of an event.
 */
export function checkpointFrom(commit: bigint): Position | undefined {
  return commit <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(commit) : undefined;
}

/** JSON comes parsed from the client, anything else as bytes, and what is empty may not come at all. */
function textOf(content: unknown): string {
  if (content === undefined) return '';
  return content instanceof Uint8Array ? Buffer.from(content).toString('utf8') : JSON.stringify(content);
}
