import { closeSync, fdatasync, fsync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { directorySynced } from '../../files/durable-file.js';
import { sliced } from '../../threads/in-turns.js';
import type { BlobName } from '../blob-name.js';
import type { Blob } from '../content.js';
import { recordedBytes, recordsIn, recordWriter } from './records.js';

/** Bytes after which a journal is not written on. */
const longest = 32 * 1024 * 1024;

/** How long a journal is written on, and how long it stays afterwards, in milliseconds: by then the system has written most of its blobs by itself, and to ask for it costs little. */
const writtenFor = 30_000;
const keptFor = 40_000;

/** Bytes of journals from which on blobs are asked for earlier, and from which on more has to wait for that. */
const many = 512 * 1024 * 1024;
const most = 2 * many;

/** Blobs that the disk is asked to keep at once: this has time, and others need the disk too. */
const atOnce = 2;

/** How blobs lie on the disk. */
export type Places = {
  pathOf(name: Pick<BlobName, 'hash'>): string;
  /** Writes a blob as it is to be, at once, in place of what is there, if anything. Nothing is synced. */
  replace(blob: Blob): void;
  syncFolders(hashes: Iterable<string>): Promise<void>;
};

/** One that is written on or was; `open` where it still is. */
type Journal = {
  readonly path: string;
  readonly file: number;
  readonly begun: number;
  size: number;
  /** Batches of which blobs are being made, and who waits until they were. */
  underWay: number;
  idle?: () => void;
  sealed?: number;
  running?: Promise<void>;
  next?: Promise<void>;
};

/**
 * Batches of small blobs, each of which outlives a crash by one write to the disk: its bytes are written into a journal, which is synced, for all batches of that moment at once. Then blobs are made as files
 * of their own, without waiting for the disk; that is asked for when it has nothing left to do, or soon, and then the journal goes. What a journal has when a server begins is made anew where it is not as it should be.
 */
export type Batches = {
  /** Keeps blobs so that they outlive a crash, whole, though their files may not yet. @returns what is to be called once their files were made, or not */
  keep(blobs: readonly Blob[]): Promise<() => void>;
  /** Lets journals go whose time has come. */
  tidy(): Promise<void>;
  /** Lets all journals go: what is removed afterwards does not come back by a crash. With `most` as many as go in so many milliseconds; the others stay for the next start. */
  settle(most?: number): Promise<void>;
  close(): void;
};

const synced = promisify(fsync);
const dataSynced = promisify(fdatasync);

/** Opens the journals in a folder that is there, of which all blobs are there when it resolves. */
export async function openBatches(folder: string, places: Places, now: () => number): Promise<Batches> {
  const write = recordWriter();
  const sealed: Journal[] = [];
  let current: Journal | undefined;
  let last = 0;

  for (const name of readdirSync(folder).sort((a, b) => Number(a) - Number(b))) {
    if (!/^[1-9][0-9]{0,15}$/.test(name)) continue;
    last = Number(name);
    const path = join(folder, name);
    const file = openSync(path, 'r');
    const size = await restored(file, places);
    sealed.push({ path, file, begun: 0, size, underWay: 0, sealed: 0 });
  }

  function writable(): Journal {
    if (current && (current.size >= longest || now() - current.begun > writtenFor)) seal(current);
    if (current) return current;
    const path = join(folder, String(++last));
    current = { path, file: openSync(path, 'wx+', 0o600), begun: now(), size: 0, underWay: 0 };
    const journal = current;
    journal.running = directorySynced(folder);
    journal.running.catch(() => undefined);
    return journal;
  }

  function seal(journal: Journal): void {
    journal.sealed = now();
    sealed.push(journal);
    if (current === journal) current = undefined;
  }

  /** What was written before this is asked for is on the disk when it resolves. */
  function onDisk(journal: Journal): Promise<void> {
    journal.next ??= (journal.running ?? Promise.resolve()).then(() => {
      journal.running = journal.next as Promise<void>;
      delete journal.next;
      return dataSynced(journal.file);
    });
    return journal.next;
  }

  /** One after the other, the eldest first. */
  let settling: Promise<void> = Promise.resolve();
  function settleWhile(wanted: (journal: Journal) => boolean, inTime = () => true): Promise<void> {
    const work = async () => {
      for (let journal = sealed[0]; journal && wanted(journal); journal = sealed[0]) {
        await idle(journal);
        if (!(await finish(journal, places, inTime))) return;
        closeSync(journal.file);
        rmSync(journal.path);
        sealed.shift();
        await directorySynced(folder);
      }
    };
    const next = settling.then(work, work);
    settling = next.catch(() => undefined);
    return next;
  }

  const bytes = () => sealed.reduce((sum, { size }) => sum + size, current?.size ?? 0);

  return {
    async keep(blobs) {
      if (bytes() > most) await settleWhile(() => bytes() > many);
      const journal = writable();
      journal.underWay++;
      try {
        write(journal.file, blobs, journal.size);
        journal.size += recordedBytes(blobs.map(({ name }) => name));
        await onDisk(journal);
      } catch (error) {
        leave(journal);
        // Nobody knows what is in it now; what follows would be behind that.
        if (current === journal) seal(journal);
        throw error;
      }
      if (bytes() > many) settleWhile(() => bytes() > many).catch(() => undefined);
      return () => leave(journal);
    },
    async tidy() {
      if (current && now() - current.begun > writtenFor) seal(current);
      await settleWhile((journal) => now() - (journal.sealed ?? 0) > keptFor);
    },
    async settle(most = Number.POSITIVE_INFINITY) {
      if (current) seal(current);
      const end = now() + most;
      await settleWhile(
        () => true,
        () => now() <= end,
      );
    },
    close() {
      for (const { file } of current ? [...sealed, current] : sealed) closeSync(file);
    },
  };
}

function leave(journal: Journal): void {
  journal.underWay--;
  if (journal.underWay === 0) journal.idle?.();
}

/** Waits until no blobs of a journal are being made. */
async function idle(journal: Journal): Promise<void> {
  while (journal.underWay > 0) {
    await new Promise<void>((resolve) => {
      journal.idle = resolve;
    });
  }
}

/** Makes blobs of a journal anew that are not as they should be. @returns its bytes that are whole */
async function restored(file: number, places: Places): Promise<number> {
  const turns = sliced();
  let size = 0;
  for (const { name, data } of recordsIn(file)) {
    const bytes = data();
    // What follows was written later, and nobody was told that it is kept.
    if (!bytes) break;
    if (!isThere(places.pathOf(name), bytes)) places.replace({ name, data: bytes });
    size += recordedBytes([name]);
    const others = turns();
    if (others) await others;
  }
  return size;
}

function isThere(path: string, bytes: Uint8Array): boolean {
  try {
    return readFileSync(path).equals(bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Has the disk keep the blobs of a journal as files of their own; those that are gone by now are gone. @returns whether it has all, which it does not once it is not in time */
async function finish({ file, size }: Journal, places: Places, inTime: () => boolean): Promise<boolean> {
  const folders = new Map<string, string>();
  const left = upTo(file, size);
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const { name, data } of left) {
        if (!inTime()) return;
        folders.set(name.hash.slice(0, 2), name.hash);
        if (await kept(places.pathOf(name))) continue;
        // A disk says once that it could not keep something; what is read of it may be in memory alone.
        const bytes = data();
        if (bytes) places.replace({ name, data: bytes });
        if (!bytes || !(await kept(places.pathOf(name)))) throw new Error(`the disk does not keep blob ${name.hash}`);
      }
    }),
  );
  await places.syncFolders(folders.values());
  return inTime();
}

function* upTo(file: number, size: number) {
  let left = size;
  for (const record of recordsIn(file)) {
    left -= recordedBytes([record.name]);
    if (left < 0) return;
    yield record;
  }
}

/** Whether the disk keeps a file now, if it is there. */
async function kept(path: string): Promise<boolean> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
  try {
    await synced(file);
    return true;
  } catch {
    return false;
  } finally {
    closeSync(file);
  }
}
