import { MemoirError } from '../../domain/errors.js';
import { addRow, type CommitTable, createCommitTable, parentsOf, setParents } from '../graph/commit-table.js';
import type { HashAlgorithm } from '../hash.js';
import { hexToBytes, messageStart, shapeOfCommit } from '../objects/commit.js';
import type { ObjectStore } from '../objects/object-store.js';
import { damaged } from '../problem.js';

/** Commits as searches in messages see them, by number: read once, and kept in little room. A commit never changes. */
export type CommitMemory = {
  /** The number of a commit, by its id in lower-case hexadecimal digits; nothing is read for it. */
  numberOf(id: string): number;
  idOf(number: number): string;
  /** Whether a commit was read before. */
  has(number: number): boolean;
  /** Whether the commit was read before, or can be now; not if it is missing, damaged, or no commit. */
  read(number: number, objects: CommitObjects): boolean;
  /** Takes what was read of a commit for it. Whether it is one. */
  take(number: number, data: Buffer): boolean;
  /** The number of the commit that a tag comes to, if that was found before. */
  tagged(tag: number): number | undefined;
  /** Remembers that. Tags have numbers too. */
  noteTag(tag: number, commit: number): void;
  /** Of a commit that was read: its time in seconds since 1970. */
  date(number: number): number;
  /** Of a commit that was read: the numbers of its parents. */
  parents(number: number): readonly number[];
  /** Of a commit that was read: the bytes of its message, up to a zero as git has it; undefined if it has none. */
  message(number: number, objects: CommitObjects): Buffer | undefined;
  /** Bytes of memory that it takes. */
  bytes(): number;
};

/** Where commits are read from. The hashes of what is read are not verified, as git does not when it walks through a history. */
export type CommitObjects = Pick<ObjectStore, 'readFleeting'>;

/** Bytes of the pieces that messages are kept in. */
const pieceBytes = 1024 * 1024;

/** Most bytes of messages that are kept of one repository. What is beyond is read again by each search. */
const mostKept = 64 * 1024 * 1024;

/** What a tag takes in a map, about. */
const bytesOfTag = 50;

/** Length of a message that is not there, and that is not kept. */
const noMessage = -1;
const notKept = -2;

/** An empty memory of the commits of a repository. */
export function createCommitMemory(name: string, hash: HashAlgorithm): CommitMemory {
  const table = createCommitTable(hash, undefined, false);
  const kept = keptMessages();
  const tags = new Map<number, number>();
  const id = Buffer.alloc(hash.bytes);
  const fail = (what: string) => damaged(name, what);

  function load(number: number, objects: CommitObjects): Buffer | undefined {
    const at = number * hash.bytes;
    for (let i = 0; i < hash.bytes; i++) id[i] = table.ids[at + i] ?? 0;
    return sound(() => {
      const object = objects.readFleeting(id);
      return object?.type === 'commit' ? object.data : undefined;
    });
  }

  function take(number: number, data: Buffer): boolean {
    const shape = sound(() => shapeOfCommit(data, hash.hex, fail));
    if (!shape) return false;
    const parents: number[] = [];
    for (let i = 0; i < shape.parents; i++) {
      hexToBytes(data, shape.parentsAt + i * shape.parentStride, id);
      parents.push(addRow(table, id));
    }
    setParents(table, number, parents);
    table.dates[number] = shape.date;
    kept.put(number, messageIn(data));
    return true;
  }

  function numberOf(hex: string): number {
    id.write(hex, 'hex');
    return addRow(table, id);
  }

  return {
    numberOf,
    idOf: (number) => table.ids.toString('hex', number * hash.bytes, (number + 1) * hash.bytes),
    has: kept.has,
    read(number, objects) {
      if (kept.has(number)) return true;
      const data = load(number, objects);
      return data !== undefined && take(number, data);
    },
    take,
    tagged: (tag) => tags.get(tag),
    noteTag: (tag, commit) => void tags.set(tag, commit),
    date: (number) => table.dates[number] ?? 0,
    parents: (number) => parentsOf(table, number),
    message(number, objects) {
      const message = kept.get(number);
      if (message !== 'not kept') return message;
      const data = load(number, objects);
      return data && messageIn(data);
    },
    bytes: () => bytesOf(table) + kept.bytes() + tags.size * bytesOfTag,
  };
}

/** Messages by the numbers of their commits, as many as there is room for. */
function keptMessages() {
  const pieces: Buffer[] = [];
  /** Bytes of the last piece that are in use. */
  let filled = pieceBytes;
  let keptBytes = 0;
  /** Where each message is, in bytes from the first piece on, plus one; 0 for a commit that was not read. */
  let places = new Float64Array(1024);
  let lengths = new Int32Array(1024);

  function note(number: number, place: number, length: number): void {
    if (number >= places.length) {
      const rows = Math.max(number + 1, places.length * 2);
      const [morePlaces, moreLengths] = [new Float64Array(rows), new Int32Array(rows)];
      morePlaces.set(places);
      moreLengths.set(lengths);
      [places, lengths] = [morePlaces, moreLengths];
    }
    places[number] = place + 1;
    lengths[number] = length;
  }

  return {
    has: (number: number): boolean => (places[number] ?? 0) > 0,
    put(number: number, message: Buffer | undefined): void {
      const length = message?.length ?? 0;
      if (!message || length > pieceBytes || keptBytes + length > mostKept) {
        note(number, 0, message ? notKept : noMessage);
        return;
      }
      if (filled + length > pieceBytes) {
        pieces.push(Buffer.allocUnsafeSlow(pieceBytes));
        filled = 0;
      }
      copyBytes(message, pieces[pieces.length - 1] as Buffer, filled);
      note(number, (pieces.length - 1) * pieceBytes + filled, length);
      filled += length;
      keptBytes += length;
    },
    get(number: number): Buffer | undefined | 'not kept' {
      const length = lengths[number] ?? notKept;
      if (length < 0) return length === noMessage ? undefined : 'not kept';
      const place = (places[number] ?? 1) - 1;
      const start = place % pieceBytes;
      return pieces[Math.floor(place / pieceBytes)]?.subarray(start, start + length);
    },
    bytes: () => pieces.length * pieceBytes + places.byteLength + lengths.byteLength,
  };
}

/** Most messages are so short that a call takes longer than the copying. */
const shortMessage = 256;

function copyBytes(from: Buffer, to: Buffer, at: number): void {
  if (from.length > shortMessage) to.set(from, at);
  else for (let i = 0; i < from.length; i++) to[at + i] = from[i] ?? 0;
}

function bytesOf({ ids, trees, firstParent, secondParent, dates, index }: CommitTable): number {
  return [ids, trees, firstParent, secondParent, dates, index].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** git takes messages for C strings. */
function messageIn(data: Buffer): Buffer | undefined {
  const start = messageStart(data);
  if (start === undefined) return undefined;
  let end = start;
  while (end < data.length && data[end] !== 0) end++;
  return data.subarray(start, end);
}

/** What is read, unless that is damaged or missing: like git, a search passes over it, so that one bad commit does not end them all. */
function sound<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof MemoirError && error.code === 'DATA_LOSS') return undefined;
    throw error;
  }
}
