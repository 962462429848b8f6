import { LRUCache } from 'lru-cache';
import type { HistoryModel } from '../../projections/history/history-model.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { invalid, MemoirError, quote } from '../domain/errors.js';
import { markedToken, unmarkedToken } from '../domain/generation.js';
import type { Edge } from '../edge.js';
import { lastOfLog } from '../eventstore/last-event.js';
import { type EventLog, type Position, start } from '../eventstore/port.js';
import { positionBefore } from './position-before.js';

/** A place in the log: behind an event, which is named so that the place can be told from an equal position of another log. */
export type Place = {
  readonly position: Position;
  /** Id of the event; empty at the start of the log, and where the event there is gone. */
  readonly eventId: string;
};

/** Where a client wants to begin. */
export type Beginning =
  | { readonly at: 'beginning' }
  | { readonly at: 'now' }
  | { readonly at: 'position'; readonly position: bigint }
  /** Milliseconds since 1970-01-01T00:00Z. */
  | { readonly at: 'time'; readonly time: number }
  | { readonly at: 'token'; readonly token: string };

const atStart: Place = { position: start, eventId: '' };

/**
 * The place to begin at.
 * @throws MemoirError INVALID_ARGUMENT if it is not a place of this log in its generation; UNAVAILABLE as `positionBefore`
 */
export async function placeOf(
  context: {
    readonly store: EventLog & { readonly exclusive?: boolean };
    readonly history: HistoryModel;
    readonly readModel: Generations;
    readonly edge: Edge;
  },
  beginning: Beginning,
): Promise<Place> {
  const { store } = context;
  switch (beginning.at) {
    case 'beginning':
      return atStart;
    case 'now': {
      const last = await lastOfLog(store);
      return last ? placeBehind(last) : atStart;
    }
    case 'position': {
      if (beginning.position === BigInt(start)) return atStart;
      const found = await eventAt(store, beginning.position);
      if (found) return placeBehind(found);
      await checkNotYetThere(context, beginning.position);
      const message = `no event of this log is at position ${beginning.position}`;
      throw invalid('position', 'NO_SUCH_POSITION', message);
    }
    case 'time': {
      const position = await positionBefore(context, beginning.time);
      const found = position === start ? undefined : await store.eventAt(position);
      return found ? placeBehind(found) : { position, eventId: '' };
    }
    case 'token':
      return placeOfToken(context, beginning.token);
  }
}

/** The place behind an event. */
export function placeBehind(event: { readonly position: Position; readonly id: string }): Place {
  return { position: event.position, eventId: event.id };
}

/** What knows of which generation tokens are. */
type Generations = Pick<ReadModel, 'generation'>;

/** The resume token of a place. */
export function resumeTokenOf(readModel: Generations, { position, eventId }: Place): string {
  return markedToken(readModel.generation(), Buffer.from(`${position} ${digits(eventId)}`).toString('base64url'));
}

async function placeOfToken(context: BeyondEnd & { readonly readModel: Generations }, given: string): Promise<Place> {
  const { store, readModel } = context;
  const token = unmarkedToken(readModel.generation(), 'resume_token', given);
  const text = Buffer.from(token.slice(0, 100), 'base64url').toString('latin1');
  const [, position = '', id] = /^(\d{1,16}) ((?:[0-9a-f]{16})?)$/.exec(text) ?? [];
  if (id === undefined || Buffer.from(text).toString('base64url') !== token) {
    throw invalid('resume_token', 'BAD_TOKEN', `resume_token ${quote(token, 60)} was not given by a subscription`);
  }
  if (Number(position) === start && id === '') return atStart;
  const found = await eventAt(store, BigInt(position));
  if (found ? id !== '' && digits(found.id) !== id : id !== '' || Number(position) > (await store.end())) {
    if (!found) await checkNotYetThere(context, BigInt(position));
    const why = found ? 'another event is' : 'no event is';
    const message = `resume_token ${quote(token, 60)} is of another log: ${why} at position ${position} of this one`;
    throw invalid('resume_token', 'TOKEN_OF_ANOTHER_LOG', message);
  }
  return found ? placeBehind(found) : { position: Number(position), eventId: '' };
}

type BeyondEnd = {
  readonly store: EventLog & { readonly exclusive?: boolean };
  readonly edge: Pick<Edge, 'monotonic'>;
};

/** How long a cluster may take to know again what it has acknowledged, in milliseconds. */
const settlingTime = 10_000;

/** When each position was found to be beyond the end first, by the log. */
const beyond = new WeakMap<EventLog, LRUCache<string, number>>();

/**
 * A node that led a cluster and was cut off does not know for a while what the cluster recorded since, so that a position beyond its end
 * may be a good one. It is none for good when the end was asked for again after some time, and is still before it.
 * @throws MemoirError UNAVAILABLE POSITION_BEYOND_END if that cannot be told yet
 */
async function checkNotYetThere({ store, edge }: BeyondEnd, position: bigint): Promise<void> {
  if (store.exclusive || position > BigInt(Number.MAX_SAFE_INTEGER)) return;
  const end = await store.end();
  if (position <= BigInt(end)) return;
  const asked = beyond.get(store) ?? new LRUCache<string, number>({ max: 1_000 });
  beyond.set(store, asked);
  const first = asked.get(String(position));
  if (first !== undefined && edge.monotonic() - first >= settlingTime) return;
  if (first === undefined) asked.set(String(position), edge.monotonic());
  throw new MemoirError(
    'UNAVAILABLE',
    'POSITION_BEYOND_END',
    `position ${position} is beyond the end of the log, ${end}, as the store tells it now; it may know more in ${settlingTime / 1_000} s`,
  );
}

/** Half of a UUID, which is enough to know it again. */
function digits(uuid: string): string {
  return uuid.replaceAll('-', '').slice(0, 16);
}

async function eventAt(store: EventLog, position: bigint) {
  if (position > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return store.eventAt(Number(position));
}
