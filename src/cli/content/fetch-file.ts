import { createHash, hash as digestOf } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, type FileHandle, lstat, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { OutputEntry } from '../../../gen/memoir/content/v1/content_service_pb.js';
import { hashInto } from '../../content/blob-files.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { named } from '../../files/durable-file.js';
import type { Clients } from '../client.js';
import { resumed } from '../log/resume.js';
import { checkReplaced, type Placing } from './make-entries.js';

/** Bytes from which on a file outlives a crash of the machine once it has its name. */
const syncedFrom = 1024 * 1024;

/** Whose output a file is of: a job, and the number of an attempt, or 0. */
export type OutputOf = { readonly uuid: string; readonly attempt: number };

/**
 * Fetches one file: beside its place, from where an earlier try ended, and named once it has the right bytes and mode.
 * @throws as `fetchOutput`
 */
export async function fetchFile(
  clients: Pick<Clients, 'content'>,
  of: OutputOf,
  entry: OutputEntry,
  { root, overwrite }: Placing,
  moved: (bytes: number) => void,
): Promise<void> {
  const path = join(root, entry.path);
  const size = Number(entry.digest?.sizeBytes ?? 0n);
  const mode = (entry.executable ? 0o777 : 0o666) & ~process.umask();
  const found = await lstat(path).catch(() => undefined);
  if (found?.isFile() && found.size === size && (await isWhole(path, entry))) {
    if (((found.mode & 0o100) !== 0) !== entry.executable) await chmod(path, mode);
    moved(size);
    return;
  }
  checkReplaced(path, found, overwrite);
  // By the path too: two files of a directory may be the same.
  const aside = join(
    dirname(path),
    `.memoir-${digestOf('sha256', `${entry.path}\0${entry.digest?.hash}`).slice(0, 32)}.part`,
  );
  const file = await openPart(aside);
  try {
    let whole = await fill(clients, of, entry, file, moved);
    // What an earlier try left may have been spoilt since.
    whole ||= await fill(clients, of, entry, file, moved, true);
    if (!whole) {
      await rm(aside, { force: true });
      throw new MemoirError(
        'DATA_LOSS',
        'BAD_BYTES',
        `the bytes of ${quote(entry.path)} that came are not those of its digest`,
      );
    }
    await file.chmod(mode);
    // Of small ones the system writes many at once later; one that a crash spoils is found by its hash.
    if (size >= syncedFrom) await file.sync();
  } finally {
    await file.close();
  }
  await named(aside, path);
}

/** Opens the file that is filled, as it is, and no other that somebody put in its place. */
async function openPart(aside: string): Promise<FileHandle> {
  const found = await lstat(aside).catch(() => undefined);
  if (found && (!found.isFile() || found.nlink > 1)) await rm(aside);
  return open(aside, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
}

/** Fills a file from where it ends, or anew. Gives whether it has the right bytes then. */
async function fill(
  clients: Pick<Clients, 'content'>,
  of: OutputOf,
  entry: OutputEntry,
  file: FileHandle,
  moved: (bytes: number) => void,
  anew = false,
): Promise<boolean> {
  const size = Number(entry.digest?.sizeBytes ?? 0n);
  const before = (await file.stat()).size;
  if (anew || before > size) await file.truncate(0);
  const hash = createHash('sha256');
  let at = await hashInto(hash, file);
  if (!anew) moved(at);
  if (at < size) {
    const next = () => clients.content.readOutput({ ...of, path: entry.path, offset: BigInt(at) });
    for await (const { data } of resumed(next)) {
      for (let done = 0; done < data.length; ) {
        done += (await file.write(data, done, data.length - done, at + done)).bytesWritten;
      }
      hash.update(data);
      at += data.length;
      if (!anew) moved(data.length);
      if (at > size) return false;
    }
  }
  return at === size && hash.digest('hex') === entry.digest?.hash;
}

async function isWhole(path: string, { digest }: OutputEntry): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const hash = createHash('sha256');
    await hashInto(hash, file);
    return hash.digest('hex') === digest?.hash;
  } finally {
    await file.close();
  }
}
