import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import canonicalize from 'canonicalize';
import { MemoirError, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';

/** A file of a manifest. */
export type ManifestFile =
  | {
      /** Path from the root of what the manifest describes, with "/" between its parts. */
      readonly path: string;
      /** Bytes. */
      readonly size: number;
      /** SHA-256 of the content, in 64 hexadecimal digits. */
      readonly sha256: string;
      readonly executable: boolean;
    }
  | {
      readonly path: string;
      /** What the symbolic link says, as it is. */
      readonly symlink: string;
    };

/** What stands behind a content address: files, sorted by the bytes of their paths. Times, owners and empty directories do not count. */
export type Manifest = { readonly files: readonly ManifestFile[] };

/** A directory of contents, each a file named by the SHA-256 of its bytes. */
export type ContentStore = {
  /**
   * Stores all files under a directory. Gives the address of their manifest.
   * @throws MemoirError FAILED_PRECONDITION UNSTORABLE_OUTPUT naming a file that is no file, link or directory, or whose name is
   * not UTF-8
   */
  putDirectory(directory: string, signal?: AbortSignal): Promise<string>;
  /** Stores one file as `name`. Gives the address of the manifest that has it alone. */
  putFile(file: string, name: string, signal?: AbortSignal): Promise<string>;
};

/** Address of a content: "sha256:" and 64 hexadecimal digits. */
export function addressOf(digest: string): string {
  return `sha256:${digest}`;
}

/** RFC 8785 form of a manifest, in UTF-8: its digest is the address. */
export function manifestBytes(files: readonly ManifestFile[]): Buffer {
  const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const manifest: Manifest = { files: sorted };
  return Buffer.from(canonicalize(manifest) as string);
}

/** A temporary file that was not written to for so long was left by a process that died, in milliseconds. */
const leftoverAgeMs = 24 * 3_600_000;

/**
 * Opens a store, and creates its directories. Contents are written under a name of their own, made durable and then renamed, so
 * that whatever a crash leaves under a digest is whole; two processes that store the same content do no harm.
 */
export async function openContentStore(directory: string, edge: Pick<Edge, 'uuid' | 'now'>): Promise<ContentStore> {
  const temporary = join(directory, 'tmp');
  await mkdir(temporary, { recursive: true });
  await mkdir(join(directory, 'sha256'), { recursive: true });
  await syncDirectory(directory);
  await removeLeftovers(temporary, edge.now() - leftoverAgeMs);

  async function putBlob(write: (file: FileHandle, hash: Hash) => Promise<number>) {
    const path = join(temporary, edge.uuid());
    const hash = createHash('sha256');
    try {
      const file = await open(path, 'wx', 0o444);
      let size: number;
      let sha256: string;
      try {
        size = await write(file, hash);
        sha256 = hash.digest('hex');
        if (await isStored(blobPath(sha256), size)) return { size, sha256 };
        await file.sync();
      } finally {
        await file.close();
      }
      await place(path, sha256);
      return { size, sha256 };
    } finally {
      await rm(path, { force: true });
    }
  }

  async function place(path: string, sha256: string): Promise<void> {
    const target = blobPath(sha256);
    const parent = join(target, '..');
    if ((await mkdir(parent, { recursive: true })) !== undefined) await syncDirectory(join(parent, '..'));
    await rename(path, target);
    await syncDirectory(parent);
  }

  function blobPath(sha256: string): string {
    return join(directory, 'sha256', sha256.slice(0, 2), sha256.slice(2));
  }

  async function copy(path: Buffer | string, shown: string, signal: AbortSignal | undefined) {
    // A file may be exchanged for a link or a pipe between the look at it and its opening.
    const source = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { mode } = await source.stat().then((found) => (found.isFile() ? found : unstorable(shown)));
      const blob = await putBlob((file, hash) => pump(source, file, hash, signal));
      return { ...blob, executable: (mode & 0o111) !== 0 };
    } finally {
      await source.close();
    }
  }

  async function putManifest(files: readonly ManifestFile[]): Promise<string> {
    const bytes = manifestBytes(files);
    const { sha256 } = await putBlob(async (file, hash) => {
      hash.update(bytes);
      await file.writeFile(bytes);
      return bytes.length;
    });
    return addressOf(sha256);
  }

  async function collect(
    at: Buffer,
    prefix: string,
    files: ManifestFile[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    for (const bytes of await readdir(at, { encoding: 'buffer' })) {
      signal?.throwIfAborted();
      const full = Buffer.concat([at, Buffer.from('/'), bytes]);
      const path = prefix + utf8(bytes, prefix);
      const found = await lstat(full);
      if (found.isDirectory()) await collect(full, `${path}/`, files, signal);
      else if (found.isSymbolicLink()) {
        files.push({ path, symlink: utf8(await readlink(full, { encoding: 'buffer' }), path) });
      } else if (found.isFile()) files.push({ path, ...(await copy(full, path, signal)) });
      else unstorable(path);
    }
  }

  return {
    async putDirectory(root, signal) {
      const found = await lstat(root).catch(() => undefined);
      if (!found?.isDirectory()) {
        throw new MemoirError(
          'FAILED_PRECONDITION',
          'UNSTORABLE_OUTPUT',
          'the output directory is no longer a directory',
        );
      }
      const files: ManifestFile[] = [];
      await collect(Buffer.from(root), '', files, signal);
      return putManifest(files);
    },
    async putFile(file, name, signal) {
      return putManifest([{ path: name, ...(await copy(file, name, signal)) }]);
    },
  };
}

/** Copies until the end of the source, whatever size it had before. Gives the number of bytes. */
async function pump(
  source: FileHandle,
  file: FileHandle,
  hash: Hash,
  signal: AbortSignal | undefined,
): Promise<number> {
  const buffer = Buffer.allocUnsafe(256 * 1024);
  let size = 0;
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) return size;
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    await file.writeFile(piece);
    size += bytesRead;
  }
}

async function removeLeftovers(directory: string, beforeMs: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (found && found.mtimeMs < beforeMs) await rm(path, { force: true });
  }
}

async function isStored(path: string, size: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && found.size === size;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function utf8(bytes: Buffer, where: string): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return text;
  throw new MemoirError(
    'FAILED_PRECONDITION',
    'UNSTORABLE_OUTPUT',
    `the name ${quote(text)} in the output directory, under ${quote(where)}, is not UTF-8`,
  );
}

function unstorable(path: string): never {
  throw new MemoirError(
    'FAILED_PRECONDITION',
    'UNSTORABLE_OUTPUT',
    `${quote(path)} in the output directory is neither a file nor a symbolic link nor a directory`,
  );
}
