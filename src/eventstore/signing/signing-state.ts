import { hash, verify } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { quote } from '../../domain/errors.js';
import { firstGeneration, type Generation } from '../../domain/generation.js';
import { generationStream, signingStream } from '../../domain/streams.js';
import { judged } from '../foreign.js';
import { type EventLog, LogRefused, type Position, type RecordedEvent, start } from '../port.js';
import { type SigningKey, signingKey, splitSignature, statementOf } from './statement.js';

/** Whose signatures a reader of the log believes before the log says so: what it was configured with. Texts of public keys. */
export type Trust = {
  /** The reader's own key, and those of other servers of the log. */
  readonly trusted: readonly string[];
  /** Keys that servers signed with before. By one of these the log may have begun to be signed, and no more. */
  readonly retired: readonly string[];
};

/** Keys whose signatures hold behind a position. */
type Change = { readonly position: Position; readonly keys: ReadonlyMap<string, SigningKey> };

/** A change of keys that is not believed. */
export type UnbelievedChange = Pick<RecordedEvent, 'position' | 'revision' | 'id'> & {
  readonly keys: readonly string[];
};

/** Why an event is not believed that a server signed, or one like it. */
const elsewhere =
  'its signature is of another event: this one was altered, or copied from another stream, revision or generation';

/** How many signatures are remembered that were found good: a job's stream is read again and again. */
const remembered = 20_000;

/**
 * From where on a log is signed, by which keys, and in which generation: what the events of two of its streams say that are believed.
 * It grows as they are read.
 */
export type SigningState = ReturnType<typeof signingState>;

/** The state of a log of which nothing was read yet. `trust` is asked for when there is something to believe. */
export function signingState(trust: () => Trust) {
  const changes: Change[] = [];
  const generations: (Generation & { readonly position: Position })[] = [];
  const unbelieved: UnbelievedChange[] = [];
  const good = new LRUCache<string, string>({ maxSize: remembered, sizeCalculation: () => 1 });
  let roots: { readonly trusted: Keys; readonly retired: Keys } | undefined;
  /** The last event of the two streams that was taken. */
  let taken: Position = start;
  /** The two streams were read as far as they go up to here; undefined if they never were. */
  let complete: Position | undefined;
  let loading: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | undefined;
  let source: EventLog | undefined;

  const before = <T extends { readonly position: Position }>(those: readonly T[], position: Position): T | undefined =>
    those.findLast((one) => one.position < position);

  /** Why the signature of an event is not good by any of these keys. */
  function whyNotBy(recorded: RecordedEvent, keys: readonly Keys[]): string | undefined {
    const split = splitSignature(recorded.metadata);
    if (!split) return 'it is not signed, as events are in this log from an earlier place on';
    const { metadata, signature } = split;
    const { by, after, value } = signature;
    const signer = keys.map((some) => some.get(by)).find((key) => key !== undefined);
    if (!signer) return `it is signed by key ${by}, which is none of those that hold there`;
    if (after !== undefined && recorded.revision <= after) return elsewhere;
    const revision = after === undefined ? recorded.revision : { after };
    const generation = before(generations, recorded.position) ?? firstGeneration;
    const statement = statementOf({ ...recorded, revision, metadata }, generation);
    const digest = hash('sha256', statement, 'base64');
    const known = `${signer.id} ${value}`;
    if (good.get(known) === digest) return undefined;
    if (!verify(null, statement, signer.key, Buffer.from(value, 'base64'))) {
      return elsewhere;
    }
    good.set(known, digest);
    return undefined;
  }

  /** The next event of the two streams, of which every one before was taken. */
  function take(recorded: RecordedEvent): void {
    const { stream, position, revision, id } = recorded;
    if (position <= taken || !isOfState(stream)) return;
    taken = position;
    const { event } = judged(recorded);
    const held = before(changes, position)?.keys;
    if (event?.$typeName === 'memoir.events.v1.GenerationStarted' && stream === generationStream) {
      if (held && whyNotBy(recorded, [held]) !== undefined) return;
      generations.push({ position, number: event.generation, id: event.id });
    }
    if (event?.$typeName === 'memoir.events.v1.SigningKeysChanged' && stream === signingStream) {
      roots ??= { trusted: keysOf(trust().trusted), retired: keysOf(trust().retired) };
      const keys = readKeys(event.keys);
      const believed = whyNotBy(recorded, held ? [held, roots.trusted] : [roots.trusted, roots.retired]) === undefined;
      if (believed && keys && keys.size > 0) changes.push({ position, keys });
      else unbelieved.push({ position, revision, id, keys: event.keys });
    }
  }

  const hasBegun = (stream: string) => (stream === signingStream ? changes : generations).length > 0;

  /** Reads the two streams to their ends. @throws LogRefused if the beginning of one is not there any more */
  async function read(): Promise<void> {
    const log = source;
    if (!log) throw new Error('the signing of a log was asked for before the log was opened');
    const end = await log.end();
    const events: RecordedEvent[] = [];
    for (const stream of [generationStream, signingStream]) {
      const own: RecordedEvent[] = [];
      for await (const recorded of log.readStream(stream)) own.push(recorded);
      const gone = own[0] ? own[0].revision > 0 : taken > start ? hasBegun(stream) : await isTruncated(log, stream);
      if (gone) throw lost(stream);
      events.push(...own);
    }
    events.sort((a, b) => a.position - b.position);
    for (const recorded of events) take(recorded);
    complete = Math.max(end, complete ?? start);
  }

  return {
    /** What is to be read: the log as it is, and not by who verifies it. */
    readFrom(log: EventLog): void {
      source = log;
    },
    /** Reads what the log says now. @throws what the log throws */
    load(): Promise<void> {
      // Who asks while a load is under way needs what was recorded since that began; one more is for all of them.
      waiting ??= loading
        .catch(() => undefined)
        .then(() => {
          waiting = undefined;
          return read();
        });
      loading = waiting;
      return waiting;
    },
    /** Whether everything is known that was recorded up to a position. */
    isComplete: (position: Position): boolean => complete !== undefined && position <= complete,
    /** Takes note of an event by who reads the log in its order, from where the state was complete on. */
    take,
    /** Why an event is not one of a server's, by its signature and by what is known; undefined if it may be. */
    whyUntrusted(recorded: RecordedEvent): string | undefined {
      const { stream, type, position } = recorded;
      if (stream === signingStream && type === 'SigningKeysChanged') {
        if (changes.some((change) => change.position === position)) return undefined;
        return 'it changes the keys that sign, and is signed by none that may: see trusted_keys and retired_keys';
      }
      const held = before(changes, position)?.keys;
      return held && whyNotBy(recorded, [held]);
    },
    /** Whether events behind the position must be signed. */
    needed: (position: Position): boolean => before(changes, position) !== undefined,
    /** Remembers a signature that this process has made. */
    made(by: string, value: string, statement: Buffer): void {
      good.set(`${by} ${value}`, hash('sha256', statement, 'base64'));
    },
    /** The generation that the log is in. */
    generation: (): Generation => generations.at(-1) ?? firstGeneration,
    /** The keys whose signatures hold now; undefined where events need none. */
    keys: (): readonly SigningKey[] | undefined => {
      const last = changes.at(-1);
      return last && [...last.keys.values()];
    },
    /** Changes of keys that are not believed. */
    unbelieved: (): readonly UnbelievedChange[] => unbelieved,
  };
}

type Keys = ReadonlyMap<string, SigningKey>;

/** Whether a stream of which nothing can be read had something once, as its metadata in KurrentDB say. */
async function isTruncated(log: EventLog, stream: string): Promise<boolean> {
  for await (const { data } of log.readStream(`$$${stream}`, undefined, { direction: 'backwards', limit: 1 })) {
    if (/"\$(tb|maxAge|maxCount)"/.test(data)) return true;
  }
  return false;
}

/** Who hides where the log began to be signed would have everything believed. */
function lost(stream: string): LogRefused {
  return new LogRefused(
    'SIGNING_LOST',
    `stream ${quote(stream)} does not begin with its first event any more: somebody deleted or truncated it in the store, so that nobody knows ` +
      'from where on the log is signed, and by which keys. Take back what its metadata in the store say, or restore a backup',
  );
}

/** Whether events of a stream are taken. */
export const isOfState = (stream: string): boolean => stream === generationStream || stream === signingStream;

function keysOf(texts: readonly string[]): Keys {
  return new Map(texts.map(signingKey).map((key) => [key.id, key]));
}

/** The keys that an event names; undefined if one is none. */
function readKeys(texts: readonly string[]): Keys | undefined {
  try {
    return keysOf(texts);
  } catch {
    return undefined;
  }
}

/** Keys as messages name them. */
export const namesOf = (keys: readonly { readonly text: string }[]): string =>
  keys.map(({ text }) => quote(text)).join(', ');
