import type { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { quote } from '../../domain/errors.js';
import type { Edge } from '../../edge.js';
import { lastOfStream } from '../last-event.js';
import {
  type Appended,
  type ExpectedRevision,
  type NewEvent,
  type RecordedEvent,
  StoreUnavailable,
  WrongExpectedRevision,
} from '../port.js';
import { type AppendedThere, appendOnce, maxUnderWay } from './append-once.js';
import { type AppendSizes, appendSizes } from './append-size.js';
import type { Connection } from './connection.js';
import { actualRevision, breaksClient, failureOf, sizeLimitOf, unavailable } from './failure.js';
import { inTime, type Patience } from './patience.js';
import type { Reader } from './reader.js';
import { positionFrom } from './recorded.js';
import { type AppendData, dataFrom } from './wire/append-request.js';

/** How far back a stream is searched for events that were appended with any revision and not answered. */
const searchDepth = 4_096;

/** The stream has events that cannot be read yet. */
class Unseen extends Error {
  constructor(actual: number) {
    super(`the stream is at ${actual} there, which cannot be read yet`);
    this.name = 'Unseen';
  }
}

/** Appends to streams. */
export type Appender = {
  append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended>;
  readonly checkSize: AppendSizes['check'];
  /** Refuses what comes, finishes what was asked. */
  close(): Promise<void>;
};

/** Appends by `connection`. */
export function appenderOf(
  connection: Connection,
  address: string,
  patience: Patience,
  reader: Reader,
  { uuid }: Pick<Edge, 'uuid'>,
): Appender {
  const waiting: (() => void)[] = [];
  const sizes = appendSizes();
  const unfinished = new Set<Promise<unknown>>();
  // While the first append by a client opens its stream of requests, others would overtake it.
  const opened = new WeakMap<KurrentDBClient, Promise<unknown>>();
  let underWay = 0;
  let closed = false;

  async function send(
    stream: string,
    expected: ExpectedRevision,
    data: AppendData,
    used: (client: KurrentDBClient) => void,
  ) {
    // In the order of the calls, which the server keeps, since all go by one stream.
    if (underWay >= maxUnderWay) await new Promise<void>((turn) => waiting.push(turn));
    else underWay++;
    try {
      const client = connection.client();
      used(client);
      const opening = opened.get(client);
      if (opening) await opening;
      const answer = inTime(appendOnce(client, uuid(), stream, expected, data), patience.timings.answerTimeout);
      if (!opening)
        opened.set(
          client,
          answer.catch(() => undefined),
        );
      return await answer;
    } finally {
      const next = waiting.shift();
      if (next) next();
      else underWay--;
    }
  }

  async function append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended> {
    sizes.check(stream, events);
    const data = dataFrom(events);
    const ids = events.map(({ id }) => id);
    // True once an attempt may have been recorded although no answer says so.
    let uncertain = false;
    return patience.persist(`append to stream ${quote(stream)}`, async () => {
      let client: KurrentDBClient | undefined;
      try {
        const before = uncertain && expected === 'any' ? await search(stream, ids) : undefined;
        if (before) return before;
        const result = await send(stream, expected, data, (used) => {
          client = used;
        });
        return await placeOf(stream, expected, ids, result, uncertain);
      } catch (error) {
        const limit = sizeLimitOf(error);
        if (limit !== undefined) throw sizes.learn(stream, events, limit);
        const failure = failureOf(error);
        if (failure === 'wrong_revision') {
          const actual = actualRevision(error);
          const done = uncertain ? await recordedThere(stream, expected, ids) : undefined;
          if (done) return done;
          // Without a majority a server counts what nobody can read yet, and it may be this very append.
          if (uncertain && actual > (await lastSeen(stream))) throw new Unseen(actual);
          throw new WrongExpectedRevision(stream, expected, actual);
        }
        if (client && failure === 'transient') {
          uncertain = true;
          if (breaksClient(error)) connection.renew(client);
        }
        // A store that closes finishes what is under way, and tries nothing again.
        throw closed ? unavailable(address, `append to stream ${quote(stream)}`, error) : error;
      }
    });
  }

  async function placeOf(
    stream: string,
    expected: ExpectedRevision,
    ids: readonly string[],
    result: AppendedThere,
    uncertain: boolean,
  ) {
    const revision = Number(result.revision);
    // A stream that was deleted goes on where it was: what was to be its first event is none, and every reader passes over it.
    if (expected === 'no_stream' && revision >= ids.length) throw new WrongExpectedRevision(stream, expected, revision);
    if (!uncertain && result.commit !== undefined) {
      return { revision, position: positionFrom(address, result.commit, () => `stream ${quote(stream)}`) };
    }
    // The server knew the events already, and then it does not say where they are.
    for await (const event of reader.tryStream(stream, revision, { limit: 1 })) {
      if (event.id === ids.at(-1)) return { revision, position: event.position };
    }
    const found = await search(stream, ids);
    if (found) return found;
    throw new StoreUnavailable(`KurrentDB at ${address} has appended to stream ${quote(stream)} what it does not have`);
  }

  /** Where the events are, if an attempt recorded them at the expected place. */
  async function recordedThere(stream: string, expected: ExpectedRevision, ids: readonly string[]) {
    const first = typeof expected === 'number' ? expected + 1 : 0;
    const there: RecordedEvent[] = [];
    for await (const event of reader.tryStream(stream, first, { limit: ids.length })) there.push(event);
    const last = there.at(-1);
    const same = there.length === ids.length && there.every(({ id }, i) => id === ids[i]);
    return same && last ? { revision: last.revision, position: last.position } : undefined;
  }

  /** Revision of the last event of the stream that can be read; -1 if there is none. */
  async function lastSeen(stream: string): Promise<number> {
    return (await lastOfStream({ readStream: reader.tryStream }, stream))?.revision ?? -1;
  }

  /** Where the events are, if they are among the latest of the stream. */
  async function search(stream: string, ids: readonly string[]): Promise<Appended | undefined> {
    for await (const event of reader.tryStream(stream, undefined, { direction: 'backwards', limit: searchDepth })) {
      if (event.id === ids.at(-1)) return { revision: event.revision, position: event.position };
    }
    return undefined;
  }

  return {
    checkSize: sizes.check,
    append(stream, expected, events) {
      if (closed) return Promise.reject(new StoreUnavailable(`the event store at ${address} is closed`));
      const done = append(stream, expected, events);
      const settled = done.then(
        () => undefined,
        () => undefined,
      );
      unfinished.add(settled);
      void settled.then(() => unfinished.delete(settled));
      return done;
    },
    async close() {
      closed = true;
      await Promise.all(unfinished);
    },
  };
}
