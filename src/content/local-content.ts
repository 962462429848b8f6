import type { Logger } from 'pino';
import { MemoirError, messageOf, quote } from '../domain/errors.js';
import { lendAll } from '../threads/lent.js';
import { letGo } from '../threads/let-go.js';
import { memoryPool } from '../threads/memory-pool.js';
import { roomBefore, roomy } from '../threads/roomy.js';
import { unpackError } from '../threads/sent-error.js';
import { startThread } from '../threads/thread.js';
import { threadOnDemand } from '../threads/thread-on-demand.js';
import { type BlobName, blobText } from './blob-name.js';
import type { Root } from './blobs-of-root.js';
import type { Blob, BlobReading, ContentStore } from './content.js';
import type { ContentThread, Usage } from './content-thread.js';
import type { NeededBlob, PlaceOfBlob } from './erase-tree.js';
import type { BoundedRoot, Removed, Room } from './sweep-blobs.js';

/** A sweep over the blobs, root by root; there is one at a time. */
export type Sweep = {
  begin(): Promise<void>;
  /** Has roots stay. */
  keep(roots: readonly Root[]): Promise<void>;
  /** Has roots stay as far as there is room, in their order. @returns which of them stay */
  keepWithin(roots: readonly BoundedRoot[], room: Room): Promise<readonly boolean[]>;
  /** Of roots that nothing keeps, those that nobody holds. */
  unheld(roots: readonly Root[]): Promise<readonly boolean[]>;
  /** Takes a root away unless somebody holds it by now. @returns whether it went */
  evict(root: Root): Promise<boolean>;
  /** Counts what is below roots as going, where nothing is taken away. */
  count(roots: readonly Root[]): Promise<void>;
  /** Removes every blob that does not stay; with `dry` it only counts them. `tell` is told how many were looked at. */
  finish(dry: boolean, tell?: (lookedAt: number) => void): Promise<Removed>;
};

/** What is erased with a tree; there is one at a time. */
export type Erasing = {
  /** Begins with all that is below a tree, which hangs at a path of a root. */
  begin(tree: BlobName, at: string): Promise<void>;
  /** Tells of roots that stay. */
  stay(roots: readonly Root[]): Promise<void>;
  /** Up to `limit` blobs below the tree that none of them has, from a number on. */
  own(from: number, limit: number): Promise<readonly Root[]>;
  /** How many blobs below the tree any of them has, and up to `limit` of these. */
  needed(limit: number): Promise<{ readonly count: number; readonly first: readonly NeededBlob[] }>;
  end(): Promise<void>;
};

/** Content whose blobs this server keeps itself, and so decides how long. */
export type LocalContent = ContentStore & {
  /** Takes a blob away that nobody counts on. */
  drop(name: BlobName): Promise<void>;
  readonly sweep: Sweep;
  readonly erasing: Erasing;
  /** By which path roots have a blob; undefined for those that do not. */
  places(roots: readonly Root[], hash: string): Promise<readonly (PlaceOfBlob | undefined)[]>;
  /** Whether a blob is here, of whatever size, or was put aside. */
  isHere(hash: string): Promise<boolean>;
  /** Removes blobs at once. @returns how many were there */
  erase(hashes: readonly string[]): Promise<number>;
  usage(): Promise<Usage>;
};

/** How often what nobody uses is let go of, in milliseconds. */
const tidyEvery = 60_000;

/** How long an upload is kept that nobody goes on with, in milliseconds. */
const uploadsKept = 24 * 3_600_000;

/** Where content is kept, and how fast it is looked through for damage. */
export type LocalContentOptions = {
  readonly directory: string;
  /** Bytes a second that are hashed in the background; 0 for none. */
  readonly scrubRate: number;
};

/** How long the background looks at nothing between two times, in milliseconds. */
const scrubPause = 24 * 3_600_000;

/** Bytes of one piece of a blob that is read. */
const pieceBytes = 1024 * 1024;

/** Pieces of a blob that are read before the one before them is taken. */
const piecesAhead = 2;

/** Memory for so many pieces is kept to be used anew. */
const keptMemories = 8;

/** Room for the young objects of the thread, in MiB: they are names and little else, and what they have at most stays its own. */
const youngMiB = 12;

/** Content in a directory of this machine, by a thread that is started when it is first asked. Files lie as docs/content.md says. */
export function openLocalContent({ directory, scrubRate }: LocalContentOptions, logger: Logger): LocalContent {
  const file = new URL('./content-thread.js', import.meta.url);
  const { call, close } = threadOnDemand<ContentThread>({
    start: () => {
      begin();
      return startThread(file, { directory }, { name: 'the thread that keeps content', youngMiB });
    },
  });
  const closing = new AbortController();
  const timers = new Set<NodeJS.Timeout>();
  const doubting: (() => void)[] = [];
  const memories = memoryPool(roomBefore + pieceBytes, keptMemories);
  let begun = false;

  /** What goes on in the background once there is a thread. */
  function begin(): void {
    if (begun || closing.signal.aborted) return;
    begun = true;
    repeatedly(tidyEvery, async () => void (await call.tidy({ olderThan: uploadsKept })));
    if (scrubRate > 0) repeatedly(scrubPause, scrub, tidyEvery);
  }

  function repeatedly(every: number, work: () => Promise<void>, first = every): void {
    const timer = setTimeout(async () => {
      timers.delete(timer);
      await work().catch((error: unknown) => {
        if (!closing.signal.aborted) logger.error({ err: error }, 'content could not be looked after');
      });
      if (!closing.signal.aborted) repeatedly(every, work);
    }, first);
    timer.unref();
    timers.add(timer);
  }

  async function scrub(): Promise<void> {
    const { blobs, bytes, corrupt } = await call.scrub({ bytesPerSecond: scrubRate }, { signal: closing.signal });
    if (corrupt.length === 0) logger.info({ blobs, bytes }, 'all content is what it was');
    else {
      doubt();
      const named = corrupt.slice(0, 20).map(blobText);
      logger.error(
        { blobs, bytes, count: corrupt.length, corrupt: named },
        'content had other bytes than its own; it was put aside',
      );
    }
  }

  function doubt(): void {
    for (const listener of doubting) listener();
  }

  async function asked<T>(what: Promise<T>): Promise<T> {
    try {
      return await what;
    } catch (error) {
      throw error instanceof MemoirError ? told(error) : unavailable(directory, error);
    }
  }

  /** The error, which operators are told of if it is theirs to know. */
  function told(error: MemoirError): MemoirError {
    if (error.reason !== 'BLOB_CORRUPT') return error;
    logger.error({ err: error }, 'content had other bytes than its own');
    doubt();
    return error;
  }

  /** Reads so many bytes. Pieces are read while those before are sent. */
  function read(number: number, bytes: number): BlobReading {
    const ahead: Promise<Uint8Array<ArrayBuffer> | undefined>[] = [];
    let left = bytes;
    function ask(): void {
      if (left === 0) return;
      left = Math.max(0, left - pieceBytes);
      const memory = memories.take();
      const piece = call.next({ number, memory }, { handOver: [memory] });
      piece.catch(() => undefined);
      ahead.push(piece);
    }
    for (let i = 0; i < piecesAhead; i++) ask();
    return {
      async next() {
        const piece = await asked(ahead.shift() ?? Promise.resolve(undefined));
        if (!piece || piece.length === 0) return new Uint8Array();
        ask();
        return roomy(piece, memories.give);
      },
      async close() {
        for (const end of await Promise.allSettled(ahead)) {
          if (end.status === 'fulfilled' && end.value) memories.give(end.value.buffer);
        }
        await call.endReading(number).catch(() => undefined);
      },
    };
  }

  return {
    identity: () => asked(call.identity(undefined)),
    hold: (names, ms) => asked(call.hold({ names, ms })),
    corrupted: (names) => asked(call.corrupted(names)),
    onDoubt: (listener) => void doubting.push(listener),
    async missing(names) {
      const hashes = names.map(({ hash }) => hash).join('');
      const found = await asked(call.missing({ hashes, sizes: Float64Array.from(names, ({ size }) => size) }));
      return found.map((i) => names[i] as BlobName);
    },
    async read(name, offset, limit) {
      if (name.size === 0) return { next: async () => new Uint8Array(), close: async () => undefined };
      const number = await asked(call.beginReading({ name, offset, limit }));
      return read(number, Math.max(0, Math.min(limit, name.size - offset)));
    },
    async get(names) {
      const found = await asked(call.get(names));
      const had = found.filter((one): one is Uint8Array<ArrayBuffer> => one instanceof Uint8Array && one.length > 0);
      lendAll(had, letGo);
      return found.map((one) => (one instanceof Uint8Array ? one : told(unpackError(one) as MemoirError)));
    },
    async put(blobs, { blind = false, own = false } = {}) {
      const handOver = own ? memoriesOfTheirOwn(blobs) : [];
      const errors = await asked(call.put({ blobs, blind }, { handOver }));
      return errors.map((error) => error && (unpackError(error) as MemoirError));
    },
    write: (piece) => asked(call.write(piece, { handOver: memoryOfItsOwn(piece.data) })),
    uploaded: (name, upload, { blind = false } = {}) => asked(call.uploaded({ name, upload, blind })),
    drop: (name) => asked(call.drop(name)),
    sweep: {
      begin: () => asked(call.sweepBegin(undefined)),
      keep: (roots) => asked(call.sweepKeep(roots)),
      keepWithin: (roots, room) => asked(call.sweepKeepWithin({ roots, room })),
      unheld: (roots) => asked(call.sweepUnheld(roots)),
      evict: (root) => asked(call.sweepEvict(root)),
      count: (roots) => asked(call.sweepCount(roots)),
      finish: (dry, tell) => asked(call.sweepFinish({ dry }, tell ? { onTold: tell } : {})),
    },
    erasing: {
      begin: (tree, at) => asked(call.eraseBegin({ tree, at })),
      stay: (roots) => asked(call.eraseStay(roots)),
      own: (from, limit) => asked(call.eraseOwn({ from, limit })),
      needed: (limit) => asked(call.eraseNeeded({ limit })),
      end: () => asked(call.eraseEnd(undefined)),
    },
    places: (roots, hash) => asked(call.places({ roots, hash })),
    isHere: (hash) => asked(call.isHere(hash)),
    erase: (hashes) => asked(call.erase(hashes)),
    usage: () => asked(call.usage(undefined)),
    async close() {
      closing.abort();
      for (const timer of timers) clearTimeout(timer);
      await close();
    },
  };
}

/** Bytes of memory beside those of a piece that it may have alone, such as what stands before them in a message. */
const mostBeside = 4_096;

/** The memory of a piece where that is nearly all that lies in it, so that it is handed over instead of being copied; nothing where others may have a part. */
function memoryOfItsOwn({ buffer, byteLength }: Uint8Array): ArrayBuffer[] {
  const own = byteLength >= 16 * mostBeside && buffer.byteLength - byteLength <= mostBeside;
  return own && buffer instanceof ArrayBuffer ? [buffer] : [];
}

/** The memories that are half full of some blobs at least, and large enough to be of one message alone. */
function memoriesOfTheirOwn(blobs: readonly Blob[]): ArrayBuffer[] {
  const used = new Map<ArrayBufferLike, number>();
  for (const { data } of blobs) used.set(data.buffer, (used.get(data.buffer) ?? 0) + data.length);
  return [...used].flatMap(([memory, bytes]) =>
    memory instanceof ArrayBuffer && bytes >= 16 * mostBeside && bytes >= memory.byteLength / 2 ? [memory] : [],
  );
}

/** The error for what the system refuses, which a client cannot mend. */
function unavailable(directory: string, error: unknown): MemoirError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new MemoirError('RESOURCE_EXHAUSTED', 'CONTENT_FULL', 'no room is left for content', { cause: error });
  }
  return new MemoirError('UNAVAILABLE', 'CONTENT_UNAVAILABLE', 'content cannot be read or written now; try again', {
    cause: new Error(`content in ${quote(directory)}: ${messageOf(error)}`, { cause: error }),
  });
}
