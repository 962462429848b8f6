import { randomUUID } from 'node:crypto';

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
  /** Milliseconds since 1970-01-01T00:00Z. */
  readonly created: number;
};

/** What is to be recorded. */
export type Proposed = Pick<StoredRecord, 'id' | 'type' | 'contentType' | 'data' | 'metadata'>;

/** Where a stream must be for an append. */
export type Expected = number | 'any' | 'no_stream' | 'stream_exists';

/** What became of an append. */
export type Outcome =
  | { readonly kind: 'done'; readonly revision: number; readonly position: number; readonly known: boolean }
  | { readonly kind: 'wrong'; readonly actual: number }
  | { readonly kind: 'deleted' };

/** Error of a read of a stream that was deleted for good. */
export class Tombstoned extends Error {}

/** How the log of the double behaves. */
export type LogOptions = {
  /** After how many records a record of the server's own follows; 0 for never. */
  readonly noiseEvery: number;
};

/** Error of a read from a place where no record begins. */
export class InvalidPosition extends Error {}

/**
 * A log with the rules of KurrentDB: revisions by stream, positions with gaps over all streams, expected versions, and the
 * recognition of appends that are repeated (an append with any version only while its ids are remembered).
 */
export function memoryLog({ noiseEvery }: LogOptions) {
  const records: StoredRecord[] = [];
  const streams = new Map<string, StoredRecord[]>();
  const recent = new Map<string, number>();
  const listeners = new Set<() => void>();
  /** First revision of streams that can be read, as $tb says; beyond every revision of one that was deleted. */
  const firstReadable = new Map<string, number>();
  const tombstones = new Set<string>();
  /** Where records were that are gone. */
  const scavenged: [from: number, to: number][] = [];
  let next = 164;

  function write(stream: string, event: Proposed): StoredRecord {
    const own = streams.get(stream) ?? [];
    streams.set(stream, own);
    const revision = (own.at(-1)?.revision ?? -1) + 1;
    const record = { ...event, stream, revision, position: next, created: Date.now() };
    next += 90 + stream.length + event.data.length + event.metadata.length;
    own.push(record);
    records.push(record);
    recent.set(`${stream}/${event.id}`, revision);
    if (noiseEvery > 0 && stream !== '$stats-double' && records.length % noiseEvery === 0) noise();
    return record;
  }

  function noise(): void {
    const id = `00000000-0000-4000-8000-${records.length.toString(16).padStart(12, '0')}`;
    const data = Buffer.from('{"proc":1}');
    write('$stats-double', { id, type: '$statsCollected', contentType: 'application/json', data, metadata: data });
  }

  function known(stream: string, first: number, events: readonly Proposed[]): Outcome | undefined {
    if (events.length === 0) return undefined;
    const own = streams.get(stream) ?? [];
    const base = own[0]?.revision ?? 0;
    const there = own.slice(first - base, first - base + events.length);
    if (first < base || there.length < events.length) return undefined;
    if (!there.every(({ id }, i) => id === events[i]?.id)) return undefined;
    const last = there.at(-1) as StoredRecord;
    return { kind: 'done', revision: last.revision, position: last.position, known: true };
  }

  return {
    records,
    append(stream: string, expected: Expected, events: readonly Proposed[]): Outcome {
      if (tombstones.has(stream)) return { kind: 'deleted' };
      const actual = streams.get(stream)?.at(-1)?.revision ?? -1;
      const recreated = firstReadable.get(stream) === Number.POSITIVE_INFINITY;
      if (recreated && (expected === 'any' || expected === 'no_stream' || expected === actual)) {
        // It goes on behind what was deleted.
        firstReadable.set(stream, actual + 1);
      } else if (expected === 'any') {
        const first = recent.get(`${stream}/${events[0]?.id}`);
        const again = first === undefined ? undefined : known(stream, first, events);
        if (again) return again;
      } else if (expected !== 'stream_exists') {
        const wanted = expected === 'no_stream' ? -1 : expected;
        if (wanted !== actual) return known(stream, wanted + 1, events) ?? { kind: 'wrong', actual };
      } else if (actual < 0) return { kind: 'wrong', actual };
      let last: StoredRecord | undefined;
      for (const event of events) last = write(stream, event);
      for (const listener of listeners) listener();
      return { kind: 'done', revision: last?.revision ?? actual, position: last?.position ?? 0, known: false };
    },
    /** What of a stream can be read. @throws Tombstoned */
    stream(name: string): readonly StoredRecord[] {
      if (tombstones.has(name)) throw new Tombstoned(name);
      const own = streams.get(name) ?? [];
      const first = firstReadable.get(name);
      return first === undefined ? own : own.filter(({ revision }) => revision >= first);
    },
    /** Deletes a stream so that it may begin again: it stays in the whole log, and an append goes on with its revisions. */
    softDelete: (stream: string) => void firstReadable.set(stream, Number.POSITIVE_INFINITY),
    /** Deletes a stream for good: a record without content, at the biggest revision, says so in the whole log. */
    tombstone(stream: string): void {
      const none = new Uint8Array();
      tombstones.add(stream);
      const id = randomUUID();
      const mark = { id, type: '$streamDeleted', contentType: 'application/octet-stream', data: none, metadata: none };
      records.push({
        ...mark,
        stream,
        revision: -1,
        wireRevision: 2n ** 63n - 1n,
        position: next,
        created: Date.now(),
      });
      next += 90 + stream.length;
      for (const listener of listeners) listener();
    },
    actual: (name: string): number => streams.get(name)?.at(-1)?.revision ?? -1,
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
    forgetIds: () => recent.clear(),
    /** Drops the first events of a stream, as $tb or $maxAge with a scavenge does. */
    truncate(stream: string, before: number): void {
      const kept = (streams.get(stream) ?? []).filter(({ revision }) => revision >= before);
      streams.set(stream, kept);
      const gone = (record: StoredRecord) => record.stream === stream && record.revision < before;
      records.forEach((record, i) => {
        if (gone(record)) scavenged.push([record.position, records[i + 1]?.position ?? next]);
      });
      const rest = records.filter((record) => !gone(record));
      records.splice(0, records.length, ...rest);
    },
    noise() {
      noise();
      for (const listener of listeners) listener();
    },
    onGrowth(listener: () => void): () => void {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** A log of the double. */
export type MemoryLog = ReturnType<typeof memoryLog>;
