import { setTimeout as delay } from 'node:timers/promises';
import { quote } from '../domain/errors.js';
import { leafHash } from '../domain/log-tree/leaf.js';
import { generationStream, jobStream, reuseStream } from '../domain/streams.js';
import { type EventLog, LogRefused, type Position, type RecordedEvent, StreamDeleted, start } from './port.js';

/** How far the log was, as something says that is kept beside it. */
export type KeptPlace = {
  /** What says so, for people, such as "the read model". */
  readonly what: string;
  readonly position: Position;
  /** Id of the event there. */
  readonly eventId: string;
};

/** What is kept of the tree over the log, by which it is known what may be gone of it, and up to where two logs are the same. */
export type KeptLeaves = {
  /** How many events it has. */
  readonly size: number;
  /** Position of an event by its number, from 0. */
  positionOf(index: number): Position;
  /** Hash of the event at a position; undefined if it has none there. */
  hashAt(position: Position): Uint8Array | undefined;
  /** Position of the last event up to a position that never expires, which those of live logs may; undefined if there is none. */
  lastLasting(upTo: Position): Position | undefined;
  /** Uuid of the job that the event at a position is of; undefined if it is of none, or not known. */
  jobAt(position: Position): string | undefined;
};

/** That a log is not what the kept places say that it was. */
export type Contradiction = {
  /** "shorter" if it ends before a kept place and nothing else is wrong; "other" if another event stands where a known one was. */
  readonly kind: 'shorter' | 'other';
  /** The farthest place that the log does not have. */
  readonly known: KeptPlace;
  /** The last event of the log; undefined if it has none. */
  readonly found: { readonly position: Position; readonly eventId: string } | undefined;
  /** Up to here it is the same as what is kept, as far as that is known. */
  readonly same?: Position;
};

/**
 * Compares a log of any store with the places that are kept beside it: at each, the event that is named must stand there still. With
 * `leaves`, live logs may have expired. What servers recorded at the end when they went on with the log as it was is no event of
 * another log.
 * @returns undefined if it does
 */
export async function compareWithKept(
  log: EventLog,
  places: readonly KeptPlace[],
  leaves?: KeptLeaves,
): Promise<Contradiction | undefined> {
  const end = await log.end();
  const lost: KeptPlace[] = [];
  for (const place of places) {
    if (place.position === start) continue;
    if (place.position > end || !(await stands(log, place, leaves))) lost.push(place);
  }
  const [first, ...others] = lost;
  if (!first) return undefined;
  const known = others.reduce((farthest, place) => (place.position > farthest.position ? place : farthest), first);
  const found = await lastOfItsOwn(log);
  const other = lost.some(({ position }) => found !== undefined && position <= found.position);
  const same = leaves && (await lastCommon(log, leaves, end));
  return { kind: other ? 'other' : 'shorter', known, found, ...(same !== undefined && { same }) };
}

/** The last event of a log before what begins a generation, which may be half done. */
export async function lastOfItsOwn(log: EventLog): Promise<Contradiction['found']> {
  for await (const { stream, position, id } of log.readAll(undefined, { direction: 'backwards' })) {
    if (stream !== generationStream) return { position, eventId: id };
  }
  return undefined;
}

/** How long after the first look another one is taken, in milliseconds: a node that was cut off and leads no more knows it by then. */
const betweenLooks = 2_000;

/** As `compareWithKept`, but what contradicts must do so twice: a node of a cluster may not know for a moment what was recorded. */
export async function compareTwice(
  log: EventLog,
  places: readonly KeptPlace[],
  leaves: KeptLeaves | undefined,
): Promise<Contradiction | undefined> {
  const first = await compareWithKept(log, places, leaves);
  if (!first) return undefined;
  await delay(betweenLooks);
  return compareWithKept(log, places, leaves);
}

async function stands(log: EventLog, place: KeptPlace, leaves: KeptLeaves | undefined): Promise<boolean> {
  const there = await log.eventAt(place.position);
  if (there) return there.id === place.eventId;
  if (!leaves?.hashAt(place.position)) return false;
  // Live logs may have expired, and streams of jobs been deleted: the last event that neither explains must be there, and of what
  // follows nothing that is not known.
  const lasting = await lastStanding(log, leaves, place.position);
  if (lasting === undefined) return false;
  for await (const event of log.readAll(lasting)) {
    if (event.position > place.position) break;
    if (!isLeaf(leaves, event)) return false;
  }
  return true;
}

/** Most events that are looked for before one that is gone with its stream. */
const mostDeleted = 10_000;

/** The last event up to a position that is there, if all behind it are gone with their streams, or may have expired. */
async function lastStanding(log: EventLog, leaves: KeptLeaves, upTo: Position): Promise<Position | undefined> {
  const deleted = new Map<string, boolean>();
  let at = leaves.lastLasting(upTo);
  for (let gone = 0; at !== undefined && gone < mostDeleted; gone++) {
    if (await isAt(log, leaves, at)) return at;
    const uuid = leaves.jobAt(at);
    if (uuid === undefined) return undefined;
    const known = deleted.get(uuid) ?? (await areDeleted(log, [jobStream(uuid), reuseStream(uuid)]));
    deleted.set(uuid, known);
    if (!known) return undefined;
    at = leaves.lastLasting(at - 1);
  }
  return undefined;
}

/**
 * Whether the log says of one of these streams that it was deleted: then its events are gone once the store is scavenged. Only what is said
 * counts: a log that lost the stream does not have it either.
 */
export async function areDeleted(log: Pick<EventLog, 'readStream'>, streams: readonly string[]): Promise<boolean> {
  for (const stream of streams) {
    try {
      for await (const _ of log.readStream(stream, undefined, { direction: 'backwards', limit: 1 })) break;
      // A stream that may begin again has only this to say it, as KurrentDB keeps it.
      for await (const { data } of log.readStream(`$$${stream}`, undefined, { direction: 'backwards', limit: 1 })) {
        if (Number(/"\$tb":\s*(\d+)/.exec(data)?.[1]) > Number.MAX_SAFE_INTEGER) return true;
      }
    } catch (error) {
      if (error instanceof StreamDeleted) return true;
      throw error;
    }
  }
  return false;
}

async function isAt(log: EventLog, leaves: KeptLeaves, position: Position): Promise<boolean> {
  const event = await log.eventAt(position);
  return event !== undefined && isLeaf(leaves, event);
}

function isLeaf(leaves: KeptLeaves, event: RecordedEvent): boolean {
  const kept = leaves.hashAt(event.position);
  return kept !== undefined && leafHash(event).equals(kept);
}

/** How many events before one that is gone are looked for in its place. */
const mostGone = 8;

/** The last position up to which a log is the same as what is kept: a binary search, since two logs that went apart stay so. */
async function lastCommon(log: EventLog, leaves: KeptLeaves, end: Position): Promise<Position | undefined> {
  let [low, high] = [0, leaves.size];
  let same: Position | undefined;
  while (low < high) {
    const middle = (low + high) >>> 1;
    let index = middle;
    let there = false;
    for (; index >= Math.max(low, middle - mostGone) && !there; index--) {
      const position = leaves.positionOf(index);
      there = position <= end && (await isAt(log, leaves, position));
      if (there) same = position;
    }
    if (there) low = middle + 1;
    else high = middle;
  }
  return same;
}

/** The refusal of a log that is not what was known of it, with what an operator can do. `name` is the log's. */
export function contradicted(name: string, { kind, known, found, same }: Contradiction): LogRefused {
  const choice = `${choices}--accept-${kind}-log`;
  const has = found ? `ends at position ${found.position}` : 'has no event';
  const knows = `${known.what} knows it up to position ${known.position} (event ${known.eventId})`;
  if (kind === 'shorter') {
    return new LogRefused(
      'SHORTER_LOG',
      `the event log ${quote(name)} lost its end: it ${has}, and ${knows}. ${choice}`,
    );
  }
  const where = same === undefined ? '' : `; they are the same up to position ${same}, and differ from there on`;
  return new LogRefused(
    'OTHER_LOG',
    `the event log ${quote(name)} is another: it ${has}, and ${knows}${where}. ${choice}`,
  );
}

/** What an operator can do about a log that is not what it was; an option of `memoir serve` follows. */
export const choices =
  'Put the log back as it was, from a copy that is not older; or, to go on with what there is and lose the rest, start once with ';
