import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, rm } from 'node:fs/promises';
import { MemoirError } from '../domain/errors.js';
import { letGo } from '../threads/let-go.js';
import type { Call } from '../threads/methods.js';
import { roomBefore } from '../threads/roomy.js';
import { packError, type SentError } from '../threads/sent-error.js';
import { serveThread } from '../threads/serve-thread.js';
import { corrupt, hashInto, openBlobFiles } from './blob-files.js';
import { type BlobName, emptyHash } from './blob-name.js';
import { type Root, rootReader } from './blobs-of-root.js';
import type { Blind, Blob, StoreIdentity, Uploaded, UploadPiece } from './content.js';
import { placesOf, type TreeToErase, treeToErase } from './erase-tree.js';
import { getBlobs } from './get-blobs.js';
import { putBlobs } from './put-blobs.js';
import { formerIds, idIn, markerOf, openStoreId } from './store-marker.js';
import { type BoundedRoot, type Removed, type Room, sweepBlobs } from './sweep-blobs.js';
import { openUploads } from './uploads.js';

// The thread that reads, writes and hashes blobs, so that the thread that answers calls does none of it.

/** Most blobs that are being read, each with an open file. */
const mostReadings = 256;

/** How long an end waits for the disk to have what lies in journals, in milliseconds; the next start has the rest. */
const settledFor = 2_000;

/** A blob that is being read. */
type Reading = {
  readonly name: BlobName;
  readonly file: FileHandle;
  /** Of all that was read, where it is read from its beginning. */
  readonly hash: Hash | undefined;
  /** Where the next piece begins, and how far they were hashed. */
  at: number;
  hashed: number;
  readonly end: number;
  /** The piece before the next one. */
  before: Promise<void>;
};

/** Which reading is gone on with, and where its next bytes are put. */
type NextPiece = { readonly number: number; readonly memory: ArrayBuffer };

/** Names of blobs, one after the other: many objects take longer to hand over than it takes to look for what they name. */
type PackedNames = { readonly hashes: string; readonly sizes: Float64Array };

/** What a scrub found and did. */
export type Scrubbed = { readonly blobs: number; readonly bytes: number; readonly corrupt: readonly BlobName[] };

/** What lies in a store, in bytes, and on its disk. */
export type Usage = { readonly blobs: number; readonly bytes: number; readonly free: number; readonly whole: number };

async function open({ directory }: { readonly directory: string }) {
  const files = await openBlobFiles({ directory, now: Date.now });
  const id = await openStoreId(files, directory);
  const former = await formerIds(directory);
  const marker = markerOf(id).name;
  const uploads = openUploads(files, Date.now, (data) => letGo(memoryOf(data)));
  let sweep = sweepBlobs(files, Date.now, marker);
  const reader = rootReader(files);
  let erasing: TreeToErase | undefined;
  const readings = new Map<number, Reading>();
  let last = 0;

  async function done(number: number): Promise<void> {
    const reading = readings.get(number);
    readings.delete(number);
    await reading?.file.close();
  }

  async function next({ number, memory }: NextPiece, call: Call): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const reading = readings.get(number);
    if (!reading) return undefined;
    const { file, at, end, before } = reading;
    const piece = new Uint8Array(memory, roomBefore, Math.min(memory.byteLength - roomBefore, end - at));
    reading.at += piece.length;
    // The next piece may be asked for meanwhile; they are hashed in their order.
    const filled = fill(file, piece, at);
    filled.catch(() => undefined);
    const hashed = before.then(async () => hashNext(number, reading, piece, await filled));
    hashed.catch(() => undefined);
    reading.before = hashed;
    await hashed;
    call.handOver(memory);
    return piece;
  }

  /** Looks at a piece that was read. @throws MemoirError BLOB_CORRUPT if it is not what it should be */
  async function hashNext(number: number, reading: Reading, piece: Uint8Array, length: number): Promise<void> {
    const { name, hash, end } = reading;
    hash?.update(piece.subarray(0, length));
    reading.hashed += length;
    const whole = reading.hashed === name.size;
    if (length < piece.length || (whole && hash && hash.digest('hex') !== name.hash)) {
      await done(number);
      await files.quarantine(name);
      throw corrupt(name);
    }
    if (reading.hashed === end) await done(number);
  }

  return {
    async identity(_: undefined): Promise<StoreIdentity> {
      const now = await idIn(directory);
      return { id: now ?? id, marked: now === id && files.has(marker), former };
    },
    async hold({ names, ms }: { names: readonly BlobName[]; ms: number }): Promise<readonly BlobName[]> {
      const there = await Promise.all(names.map((name) => name.hash === emptyHash || files.hold(name, ms)));
      return names.filter((_, i) => !there[i]);
    },
    async corrupted(names: readonly BlobName[]): Promise<readonly BlobName[]> {
      return names.filter(files.wasCorrupt);
    },
    missing({ hashes, sizes }: PackedNames): readonly number[] {
      const missing: number[] = [];
      for (const [i, size] of sizes.entries()) {
        const hash = hashes.slice(i * 64, (i + 1) * 64);
        if (hash !== emptyHash && !files.has({ hash, size })) missing.push(i);
      }
      return missing;
    },

    /** Begins to read; gives the number that it is read on by. */
    async beginReading({ name, offset, limit }: { name: BlobName; offset: number; limit: number }): Promise<number> {
      if (readings.size >= mostReadings) {
        throw new MemoirError(
          'RESOURCE_EXHAUSTED',
          'TOO_MANY_READINGS',
          `${mostReadings} blobs are being read already; try again later`,
        );
      }
      const file = await files.open(name);
      const hash = offset === 0 && limit >= name.size ? createHash('sha256') : undefined;
      const number = ++last;
      const end = Math.min(name.size, offset + limit);
      readings.set(number, { name, file, hash, at: offset, hashed: offset, end, before: Promise.resolve() });
      return number;
    },
    /** The next piece, with room before it, in the memory that is given. */
    next,
    endReading: done,

    async get(names: readonly BlobName[], call: Call): Promise<readonly (Uint8Array | SentError)[]> {
      const found = await getBlobs(files, names);
      call.handOver(
        ...new Set(found.flatMap((one) => (one instanceof Error || one.length === 0 ? [] : [memoryOf(one)]))),
      );
      return found.map((one) => (one instanceof Error ? packError(one) : one));
    },
    async put({
      blobs,
      blind,
    }: { readonly blobs: readonly Blob[] } & Blind): Promise<readonly (SentError | undefined)[]> {
      const errors = await putBlobs(files, blobs, blind);
      for (const memory of new Set(blobs.map(({ data }) => memoryOf(data)))) letGo(memory);
      return errors.map((error) => error && packError(error));
    },
    write: (piece: UploadPiece): Promise<Uploaded> => uploads.write(piece),
    uploaded: ({ name, upload, blind }: { name: BlobName; upload: string } & Blind): Promise<Uploaded> =>
      uploads.uploaded(name, upload, blind),

    /** Takes a blob away, if it is there. */
    drop: ({ hash }: BlobName): Promise<void> => rm(files.pathOf({ hash, size: 0 }), { force: true }),

    /** Lets go of what nobody uses, and removes uploads that nobody went on with for so many milliseconds. */
    async tidy({ olderThan }: { olderThan: number }): Promise<number> {
      await uploads.rest();
      await files.batches.tidy();
      return files.sweepUploads(olderThan);
    },

    /** Hashes every blob, at most so many bytes a second, and puts those aside whose bytes are not their own. */
    async scrub({ bytesPerSecond }: { bytesPerSecond: number }, { signal }: Call): Promise<Scrubbed> {
      const begun = performance.now();
      const found: BlobName[] = [];
      let blobs = 0;
      let bytes = 0;
      for await (const name of files.all()) {
        signal.throwIfAborted();
        if (name.hash === marker.hash) continue;
        // A look for damage keeps nothing.
        const file = await files.open(name, true).catch(() => undefined);
        if (!file) continue;
        try {
          const hash = createHash('sha256');
          await hashInto(hash, file, async (read) => {
            bytes += read;
            const early = (bytes / bytesPerSecond) * 1_000 - (performance.now() - begun);
            if (early > 0) await pause(early, signal);
          });
          if (hash.digest('hex') !== name.hash) {
            await files.quarantine(name);
            found.push(name);
          }
        } finally {
          await file.close();
        }
        blobs++;
      }
      return { blobs, bytes, corrupt: found };
    },

    /** Begins a sweep. There is one at a time. */
    async sweepBegin(_: undefined): Promise<void> {
      await files.batches.settle();
      sweep = sweepBlobs(files, Date.now, marker);
    },
    sweepKeep: (roots: readonly Root[]): Promise<void> => sweep.keep(roots),
    sweepKeepWithin: ({ roots, room }: { roots: readonly BoundedRoot[]; room: Room }): Promise<readonly boolean[]> =>
      sweep.keepWithin(roots, room),
    async sweepUnheld(roots: readonly Root[]): Promise<readonly boolean[]> {
      return sweep.unheld(roots);
    },
    sweepEvict: (root: Root): Promise<boolean> => sweep.evict(root),
    sweepCount: (roots: readonly Root[]): Promise<void> => sweep.count(roots),
    sweepFinish: ({ dry }: { dry: boolean }, call: Call<number>): Promise<Removed> => sweep.finish(dry, call.tell),
    places: ({ roots, hash }: { roots: readonly Root[]; hash: string }) => placesOf(reader, roots, hash),

    /** Begins to erase a tree. One is erased at a time. */
    async eraseBegin({ tree, at }: { tree: BlobName; at: string }): Promise<void> {
      erasing = await treeToErase(reader, tree, at);
    },
    eraseStay: async (roots: readonly Root[]): Promise<void> => erasing?.stay(roots),
    eraseOwn: async ({ from, limit }: { from: number; limit: number }): Promise<readonly Root[]> =>
      erasing?.own(from, limit) ?? [],
    eraseNeeded: async ({ limit }: { limit: number }) => erasing?.needed(limit) ?? { count: 0, first: [] },
    async eraseEnd(_: undefined): Promise<void> {
      erasing = undefined;
    },

    async isHere(hash: string): Promise<boolean> {
      return files.askedSince({ hash }) !== undefined || files.wasCorrupt({ hash });
    },
    /** Removes blobs at once, and what was put aside of them. @returns how many were there */
    async erase(hashes: readonly string[]): Promise<number> {
      let there = 0;
      await files.batches.settle();
      for (const hash of hashes) {
        if (files.askedSince({ hash })) there++;
        files.remove({ hash });
        await files.removeCorrupt({ hash });
      }
      await files.syncFolders(hashes);
      return there;
    },

    /** How many blobs there are, and how much room is left. */
    async usage(_: undefined): Promise<Usage> {
      let blobs = 0;
      let bytes = 0;
      for await (const { size } of files.all()) {
        blobs++;
        bytes += size;
      }
      const { free, whole } = await files.disk();
      return { blobs, bytes, free, whole };
    },

    async close() {
      await uploads.close();
      await files.batches.settle(settledFor).catch(() => undefined);
      files.batches.close();
      for (const number of [...readings.keys()]) await done(number);
    },
  };
}

/** Reads as much as there is. @returns how many bytes */
async function fill(file: FileHandle, piece: Uint8Array, position: number): Promise<number> {
  let length = 0;
  while (length < piece.length) {
    const { bytesRead } = await file.read(piece, length, piece.length - length, position + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}

const memoryOf = ({ buffer }: Uint8Array): ArrayBuffer => buffer as ArrayBuffer;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** The thread's type. */
export type ContentThread = typeof open;

serveThread(open);
