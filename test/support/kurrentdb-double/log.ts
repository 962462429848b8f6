import { randomUUID } from 'node:crypto';
import { firstReadable, isDeleted, metadataType, type Retention, retentionIn } from './retention.js';

/** A record as the double keeps it. */
export type StoredRecord = {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
  /** The revision on the wire, where a number cannot be it: that of a tombstone. */
  readonly wireRevision?: bigint;
  readonly id: string;
  readonly type: string;
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
  /** In units of 100 ns since 1970-01-01T00:00Z. */
  readonly created: bigint;
};

/** What is to be recorded. */
export type Proposed = Pick<StoredRecord, 'id' | 'type' | 'contentType' | 'data' | 'metadata'>;

/** Where a stream must be for an append. */
export type Expected = number | 'any' | 'no_stream' | 'stream_exists';

/** What became of an append. Without a position if its events were known, but are gone. */
export type Outcome =
  | { readonly kind: 'done'; readonly revision: number; readonly position?: number }
  | { readonly kind: 'wrong'; readonly actual: number }
  /** It is never answered. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'deleted' };

/** The events are taken, and shown when it is time. */
export type Unseen = { readonly kind: 'unseen'; show(): void };

/** What can be read of a stream. */
export type StreamPlace = {
  /** Last revision that there ever was; -1 if there is none. */
  readonly last: number;
  /** First revision that may be read. */
  readonly first: number;
  /** Whether the stream is missing: never written, or deleted since. */
  readonly missing: boolean;
};

/** Error of a read of a stream that was deleted for good. */
export class Tombstoned extends Error {}

/** How the log of the double behaves. */
export type LogOptions = {
  /** After how many records a record of the server's own follows; 0 for never. */
  readonly noiseEvery: number;
};

/** Error of a read from a place where no record begins. */
export class InvalidPosition extends Error {}

const json = 'application/json';
const none = new Uint8Array();

/** Name of the stream that a stream's metadata are in, or that they are of. */
const ofMetadata = (stream: string) => `$$${stream}`;
const subjectOf = (stream: string) => (stream.startsWith('$$') ? stream.slice(2) : stream);

/**
 * A log with the rules of KurrentDB: revisions by stream, positions with gaps over all streams, expected versions, metadata that hide the
 * beginning of streams, and the recognition of appends that are repeated (with any version only while their ids are remembered).
 */
export function memoryLog({ noiseEvery }: LogOptions) {
  const records: StoredRecord[] = [];
  const streams = new Map<string, StoredRecord[]>();
  const lasts = new Map<string, number>();
  /** Revision of an event that was appended, by stream and id, whether it can be read or not. */
  const remembered = new Map<string, number>();
  const listeners = new Set<() => void>();
  const retentions = new Map<string, Retention>();
  const tombstones = new Set<string>();
  /** Revisions of streams that were written, but are not shown before they are on enough nodes. */
  const unseen = new Map<string, number>();
  /** Where records were that are gone. */
  const scavenged: [from: number, to: number][] = [];
  let next = 164;
  let clock = 0n;

  /** The time, which differs from record to record. */
  function tick(): bigint {
    const now = BigInt(Date.now()) * 10_000n;
    clock = now > clock ? now : clock + 10n;
    return clock;
  }

  const lastOf = (stream: string): number => lasts.get(stream) ?? -1;
  const retentionOf = (stream: string): Retention => retentions.get(stream) ?? {};
  const grown = () => {
    for (const listener of listeners) listener();
  };

  function write(stream: string, event: Proposed): StoredRecord {
    const own = streams.get(stream) ?? [];
    streams.set(stream, own);
    const revision = lastOf(stream) + 1;
    lasts.set(stream, revision);
    const record = { ...event, stream, revision, position: next, created: tick() };
    next += 90 + stream.length + event.data.length + event.metadata.length;
    own.push(record);
    records.push(record);
    remembered.set(`${stream}/${event.id}`, revision);
    if (stream.startsWith('$$') && event.type === metadataType)
      retentions.set(subjectOf(stream), retentionIn(event.data));
    if (noiseEvery > 0 && stream !== '$stats-double' && records.length % noiseEvery === 0) noise();
    return record;
  }

  function noise(): void {
    const id = `00000000-0000-4000-8000-${records.length.toString(16).padStart(12, '0')}`;
    const data = Buffer.from('{"proc":1}');
    write('$stats-double', { id, type: '$statsCollected', contentType: json, data, metadata: data });
  }

  function writeRetention(stream: string, before: number | bigint): void {
    const data = Buffer.from(`{"$tb":${before}}`);
    write(ofMetadata(stream), { id: randomUUID(), type: metadataType, contentType: json, data, metadata: none });
  }

  function recordAt(stream: string, revision: number): StoredRecord | undefined {
    const own = streams.get(stream) ?? [];
    return own[revision - (own[0]?.revision ?? 0)];
  }

  function knownAt(stream: string, revision: number): Outcome {
    const record = recordAt(stream, revision);
    const gone = record === undefined || isDeleted(retentionOf(stream));
    return { kind: 'done', revision, ...(!gone && { position: record.position }) };
  }

  /** The outcome of events that were appended before at a revision, as their ids there say. */
  function repeatedAt(stream: string, first: number, events: readonly Proposed[]): Outcome | undefined {
    const there = events.every(({ id }, i) => remembered.get(`${stream}/${id}`) === first + i);
    const seen = events.every(({ id }, i) => recordAt(stream, first + i)?.id === id);
    return there || seen ? knownAt(stream, first + events.length - 1) : undefined;
  }

  /** The outcome of events of which the first was appended before, wherever: all of them must have been. */
  function repeated(stream: string, events: readonly Proposed[]): Outcome | undefined {
    const revisions = events.map(({ id }) => remembered.get(`${stream}/${id}`));
    if (revisions[0] === undefined) return undefined;
    const last = revisions.at(-1);
    const twice = (id: string) => (streams.get(stream) ?? []).filter((record) => record.id === id).length > 1;
    // A server was seen to answer this never.
    if (events.length > 1 && !twice(events[0]?.id ?? '') && events.slice(1).some(({ id }) => twice(id))) {
      return { kind: 'silent' };
    }
    if (last === undefined || revisions.includes(undefined)) return { kind: 'wrong', actual: lastOf(stream) };
    return knownAt(stream, last);
  }

  /** What an append without events comes to: nothing is written, but the expectation is looked at. */
  function nothing(stream: string, expected: Expected): Outcome {
    const actual = lastOf(stream);
    const wanted = expected === 'no_stream' ? -1 : expected;
    const fits = typeof wanted === 'number' ? wanted === actual : wanted === 'any' || actual >= 0;
    return fits ? { kind: 'done', revision: actual, position: next } : { kind: 'wrong', actual };
  }

  /** What an append comes to that writes nothing; undefined if its events are to be written. */
  function answered(stream: string, expected: Expected, events: readonly Proposed[]): Outcome | undefined {
    const actual = lastOf(stream);
    const deleted = isDeleted(retentionOf(stream));
    if (expected === 'stream_exists') {
      if (deleted) return { kind: 'deleted' };
      if (actual < 0) return { kind: 'wrong', actual };
    }
    if (expected === 'any' || expected === 'stream_exists') return repeated(stream, events);
    const wanted = expected === 'no_stream' ? -1 : expected;
    if (deleted && expected === 'no_stream') {
      const again = repeated(stream, events);
      return again?.kind === 'done' ? again : undefined;
    }
    if (wanted === actual) return undefined;
    return repeatedAt(stream, wanted + 1, events) ?? { kind: 'wrong', actual };
  }

  function readable(stream: string): readonly StoredRecord[] {
    const own = streams.get(stream) ?? [];
    const retention = retentions.get(stream);
    if (retention === undefined) return own;
    const first = firstReadable(own, lastOf(stream), retention, tick());
    return own.filter(({ revision }) => revision >= first);
  }

  return {
    records,
    append(stream: string, expected: Expected, events: readonly Proposed[]): Outcome {
      if (tombstones.has(subjectOf(stream))) return { kind: 'deleted' };
      const held = unseen.get(stream);
      if (held !== undefined) return { kind: 'wrong', actual: held };
      if (events.length === 0) return nothing(stream, expected);
      const outcome = answered(stream, expected, events);
      if (outcome) return outcome;
      const recreated = isDeleted(retentionOf(stream)) ? lastOf(stream) + 1 : undefined;
      let last: StoredRecord | undefined;
      for (const event of events) last = write(stream, event);
      // It goes on behind what was deleted.
      if (recreated !== undefined) writeRetention(stream, recreated);
      grown();
      return { kind: 'done', revision: lastOf(stream), ...(last && { position: last.position }) };
    },
    /** Takes events of which no reader hears until `show` is called, as where there is no majority; the stream is where it will be then. */
    appendUnseen(stream: string, expected: Expected, events: readonly Proposed[]): Outcome | Unseen {
      if (tombstones.has(subjectOf(stream))) return { kind: 'deleted' };
      const held = unseen.get(stream);
      if (held !== undefined) return { kind: 'wrong', actual: held };
      const outcome = answered(stream, expected, events);
      if (outcome) return outcome;
      unseen.set(stream, lastOf(stream) + events.length);
      return {
        kind: 'unseen',
        show: () => {
          unseen.delete(stream);
          this.append(stream, expected, events);
        },
      };
    },
    /** What of a stream can be read. @throws Tombstoned */
    stream(name: string): readonly StoredRecord[] {
      if (tombstones.has(subjectOf(name))) throw new Tombstoned(name);
      return readable(name);
    },
    /** From where to where a stream can be read. @throws Tombstoned */
    place(name: string): StreamPlace {
      if (tombstones.has(subjectOf(name))) throw new Tombstoned(name);
      const last = lastOf(name);
      const retention = retentionOf(name);
      const first = firstReadable(streams.get(name) ?? [], last, retention, tick());
      return { last, first, missing: last < 0 || isDeleted(retention) };
    },
    /** Deletes a stream so that it may begin again: it stays in the whole log, and an append goes on with its revisions. */
    softDelete(stream: string): void {
      writeRetention(stream, 2n ** 63n - 1n);
      grown();
    },
    /** Deletes a stream for good: a record without content, at the biggest revision, says so in the whole log. */
    tombstone(stream: string): number {
      tombstones.add(stream);
      const mark = { id: randomUUID(), type: '$streamDeleted', contentType: 'application/octet-stream' };
      const position = next;
      records.push({
        ...mark,
        data: none,
        metadata: none,
        stream,
        revision: -1,
        wireRevision: 2n ** 63n - 1n,
        position,
        created: tick(),
      });
      next += 90 + stream.length;
      grown();
      return position;
    },
    isTombstoned: (stream: string): boolean => tombstones.has(stream),
    actual: (name: string): number => lastOf(name),
    /**
     * Index of the first record at or after a position. Where no record begins, or began before a scavenge, nothing can be read.
     * @throws InvalidPosition
     */
    indexOf(position: number): number {
      let [low, high] = [0, records.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((records[middle]?.position ?? 0) < position) low = middle + 1;
        else high = middle;
      }
      const begins = records[low]?.position ?? next;
      if (begins > position && position > 0 && !scavenged.some(([from, to]) => position >= from && position < to)) {
        throw new InvalidPosition();
      }
      return low;
    },
    /** The position behind the last record. */
    end: (): number => next,
    /** Forgets the ids of appends, as a server does after some time. */
    forgetIds: () => remembered.clear(),
    /** Drops the events of a stream that was deleted, as a scavenge does; the mark of one that was deleted for good stays. */
    scavenge(stream: string): void {
      const gone = (record: StoredRecord) => record.stream === stream && record.revision >= 0;
      records.forEach((record, i) => {
        if (gone(record)) scavenged.push([record.position, records[i + 1]?.position ?? next]);
      });
      const rest = records.filter((record) => !gone(record));
      records.splice(0, records.length, ...rest);
    },
    /** Drops the first events of a stream, as $tb or $maxAge with a scavenge does. */
    truncate(stream: string, before: number): void {
      const kept = (streams.get(stream) ?? []).filter(({ revision }) => revision >= before);
      streams.set(stream, kept);
      retentions.set(stream, { ...retentionOf(stream), before });
      const gone = (record: StoredRecord) => record.stream === stream && record.revision < before;
      records.forEach((record, i) => {
        if (gone(record)) scavenged.push([record.position, records[i + 1]?.position ?? next]);
      });
      const rest = records.filter((record) => !gone(record));
      records.splice(0, records.length, ...rest);
    },
    /** Loses everything from the record with this number on, as a node does that is restored from a backup. */
    restore(count: number): void {
      const [lost] = records.splice(count);
      if (lost) next = lost.position;
      for (const map of [streams, lasts, remembered, retentions]) map.clear();
      tombstones.clear();
      for (const record of records) {
        const { stream, id, revision } = record;
        streams.set(stream, [...(streams.get(stream) ?? []), record]);
        lasts.set(stream, revision);
        remembered.set(`${stream}/${id}`, revision);
      }
    },
    noise() {
      noise();
      grown();
    },
    onGrowth(listener: () => void): () => void {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** A log of the double. */
export type MemoryLog = ReturnType<typeof memoryLog>;
