import type sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import type streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import { quote } from '../../domain/errors.js';
import { type Position, type RecordedEvent, StoreUnreadable } from '../port.js';
import { splitOrigin } from './origin.js';

/** An event as it comes from the server. */
export type KurrentEvent = InstanceType<typeof streamsPb.ReadResp.ReadEvent.RecordedEvent>;

/** The event as the port has it. One that was imported is as it was recorded before, but for its position. */
export function recordedFrom(address: string, event: KurrentEvent): RecordedEvent {
  const system = event.getMetadataMap();
  const stream = textOf(event.getStreamIdentifier()?.getStreamName_asU8() ?? new Uint8Array());
  const given = event.getStreamRevision();
  const { metadata, recordedAt } = metadataOf(textOf(event.getCustomMetadata_asU8()));
  const data = textOf(event.getData_asU8());
  const plain = !isJson(system.get('content-type')) || isMemoirs(metadata);
  return {
    id: uuidOf(event.getId()),
    type: system.get('type') ?? '<no-event-type-provided>',
    stream,
    data: plain ? data : plainJson(data),
    metadata,
    revision: Number(given),
    position: positionFrom(address, event.getCommitPosition(), () => `event ${given} of stream ${quote(stream)}`),
    recordedAt: recordedAt ?? wholeSecond(system.get('created') ?? '0'),
  };
}

const isJson = (contentType: string | undefined) => contentType === 'application/json';

/** Whether the metadata say that a Memoir wrote the event, and so as `JSON.stringify` does. */
const isMemoirs = (metadata: string) => metadata.startsWith('{"principal":') && metadata.includes('"serverVersion":');

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
  if (text === '' || (isMemoirs(text) && !text.includes('"imported":'))) return { metadata: text };
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

function uuidOf(id: InstanceType<typeof sharedPb.UUID> | undefined): string {
  const structured = id?.getStructured();
  if (!structured) return id?.getString() ?? '';
  const half = (bits: string) => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0');
  const hex = half(structured.getMostSignificantBits()) + half(structured.getLeastSignificantBits());
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * The commit position as a safe integer.
 * @throws StoreUnreadable if it is too big, or if the server, as very old ones do, gives none
 */
export function positionFrom(address: string, commit: bigint | string | undefined, what: () => string): Position {
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
export function checkpointFrom(commit: string): Position | undefined {
  const number = Number(commit);
  return Number.isSafeInteger(number) ? number : undefined;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
