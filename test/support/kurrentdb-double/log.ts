/** A record as the double keeps it. */
export type StoredRecord = {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
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
  | { readonly kind: 'wrong'; readonly actual: number };

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
      const actual = streams.get(stream)?.at(-1)?.revision ?? -1;
      if (expected === 'any') {
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
    stream: (name: string): readonly StoredRecord[] => streams.get(name) ?? [],
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
