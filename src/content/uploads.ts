import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { invalid, MemoirError } from '../domain/errors.js';
import { type BlobFiles, hashInto, mismatch } from './blob-files.js';
import { type BlobName, blobText, emptyHash } from './blob-name.js';
import type { Uploaded, UploadPiece } from './content.js';

/** Most uploads that are under way, each with an open file. */
const most = 256;

/** How long an upload is kept open that nobody goes on with, in milliseconds; then its file is opened, and hashed, anew. */
const openFor = 60_000;

/** An upload that is open. */
type Upload = {
  readonly file: FileHandle;
  readonly hash: Hash;
  size: number;
  touched: number;
  /** Bytes that nobody has asked the disk to keep. */
  unsynced: number;
  /** What the disk is asked now, or was: to take the last piece, and to keep what it has. */
  writing: Promise<void>;
  syncing: Promise<unknown>;
};

/** After how many bytes the disk is asked to keep them while more come, so that there is little left to wait for in the end, here and for the log. */
const syncedEvery = 32 * 1024 * 1024;

async function writeAt(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const { bytesWritten } = await file.write(data, at, data.length - at, position + at);
    at += bytesWritten;
  }
}

/**
 * Takes blobs piece by piece. What was taken stays over a restart, so that an upload goes on where it was. Calls for one upload are made one
 * after the other. `done` is called with the bytes of each piece when nobody looks at them any more.
 */
export function openUploads(files: BlobFiles, now: () => number, done: (data: Uint8Array) => void = () => undefined) {
  const uploads = new Map<string, Upload>();

  const keyOf = (name: BlobName, upload: string) =>
    createHash('sha256')
      .update(`${upload}/${blobText(name)}`)
      .digest('hex');

  /** The upload as it is kept, begun if `begin` says so. */
  async function find(key: string, begin: boolean): Promise<Upload | undefined> {
    const before = uploads.get(key);
    if (before) return before;
    if (begin && uploads.size >= most) {
      throw new MemoirError(
        'RESOURCE_EXHAUSTED',
        'TOO_MANY_UPLOADS',
        `${most} uploads are under way already; try again later`,
      );
    }
    let file: FileHandle;
    try {
      file = await open(files.aside(key), begin ? constants.O_RDWR | constants.O_CREAT : 'r+', 0o600);
    } catch (error) {
      if (!begin && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const hash = createHash('sha256');
    const size = await hashInto(hash, file);
    const asked = Promise.resolve();
    const upload: Upload = { file, hash, size, touched: now(), unsynced: 0, writing: asked, syncing: asked };
    uploads.set(key, upload);
    return upload;
  }

  async function drop(key: string, upload: Upload): Promise<void> {
    uploads.delete(key);
    await upload.file.close();
    await rm(files.aside(key), { force: true });
  }

  /** What the disk has of an upload is found out when it is gone on with. */
  async function forget(key: string, upload: Upload): Promise<void> {
    uploads.delete(key);
    await upload.file.close().catch(() => undefined);
  }

  async function take(key: string, upload: Upload, { name, offset, data }: UploadPiece): Promise<void> {
    if (offset > upload.size) {
      throw invalid(
        'write_offset',
        'WRITE_GAP',
        `write_offset ${offset} is behind the ${upload.size} bytes that are kept; ask QueryWriteStatus where to go on`,
      );
    }
    // What is there already is not taken again.
    const fresh = data.subarray(upload.size - offset);
    if (upload.size + fresh.length > name.size) {
      await drop(key, upload);
      throw mismatch(name, { size: upload.size + fresh.length });
    }
    await files.checkRoom(fresh.length);
    // One piece is written while the next one comes. If that fails, whoever comes next is told, and the file is hashed anew.
    await upload.writing;
    upload.writing = writeAt(upload.file, fresh, upload.size).finally(() => done(data));
    upload.writing.catch(() => undefined);
    upload.hash.update(fresh);
    upload.size += fresh.length;
    upload.touched = now();
    upload.unsynced += fresh.length;
    if (upload.unsynced >= syncedEvery && !syncing) syncSoFar(upload);
  }

  /** One at a time: what waits for the disk keeps a thread of the few that read and write for everybody. */
  let syncing = false;
  function syncSoFar(upload: Upload): void {
    syncing = true;
    upload.unsynced = 0;
    upload.syncing = upload.file.datasync().finally(() => {
      syncing = false;
    });
    upload.syncing.catch(() => undefined);
  }

  async function finish(key: string, upload: Upload, name: BlobName): Promise<void> {
    await upload.writing;
    if (upload.size < name.size) {
      throw invalid(
        'finish_write',
        'UPLOAD_TOO_SHORT',
        `the upload of blob ${blobText(name)} ends after ${upload.size} bytes; it can be gone on with from there`,
      );
    }
    const hash = upload.hash.copy().digest('hex');
    if (hash !== name.hash) {
      await drop(key, upload);
      throw mismatch(name, { hash, size: upload.size });
    }
    await upload.file.chmod(0o400);
    try {
      await upload.file.sync();
      // A disk tells of what it could not keep once, to whoever asks first.
      await upload.syncing;
    } catch (error) {
      // What is read of it may be in memory alone.
      await drop(key, upload);
      throw error;
    }
    files.place(files.aside(key), name);
    await files.syncFolders([name.hash]);
    uploads.delete(key);
    await upload.file.close();
  }

  /** One call after the other for each upload. */
  const queues = new Map<string, Promise<unknown>>();
  function serially<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = queues.get(key) ?? Promise.resolve();
    const next = before.then(work, work);
    queues.set(key, next);
    const done = () => void (queues.get(key) === next && queues.delete(key));
    next.then(done, done);
    return next;
  }

  return {
    /** Takes a piece, which is written while the next one comes: `uploaded` tells what is. A blob that is there already needs no more of it, unless that is not to be known. */
    write(piece: UploadPiece): Promise<Uploaded> {
      const { name } = piece;
      const key = keyOf(name, piece.upload);
      return serially(key, async () => {
        if (name.hash === emptyHash) return { committed: 0, complete: true };
        const begun = uploads.get(key);
        if (!begun && !piece.blind && files.has(name)) {
          await rm(files.aside(key), { force: true });
          return { committed: name.size, complete: true };
        }
        const upload = (await find(key, true)) as Upload;
        try {
          await take(key, upload, piece);
          if (piece.finish) await finish(key, upload, name);
        } catch (error) {
          if (!(error instanceof MemoirError)) await forget(key, upload);
          throw error;
        }
        return { committed: upload.size, complete: piece.finish };
      });
    },

    /** How far an upload is. */
    uploaded(name: BlobName, upload: string, blind = false): Promise<Uploaded> {
      const key = keyOf(name, upload);
      return serially(key, async () => {
        if (name.hash === emptyHash || (!blind && files.has(name))) return { committed: name.size, complete: true };
        let upload = await find(key, false);
        try {
          await upload?.writing;
        } catch {
          await forget(key, upload as Upload);
          upload = await find(key, false);
        }
        return { committed: upload?.size ?? 0, complete: false };
      });
    },

    /** Closes the files of uploads that nobody goes on with, which can be gone on with all the same. */
    async rest(): Promise<void> {
      for (const [key, upload] of uploads) {
        if (now() - upload.touched < openFor || queues.has(key)) continue;
        uploads.delete(key);
        await upload.file.close();
      }
    },

    async close(): Promise<void> {
      await Promise.allSettled(queues.values());
      await Promise.all(Array.from(uploads.values(), ({ file }) => file.close()));
      uploads.clear();
    },
  };
}
