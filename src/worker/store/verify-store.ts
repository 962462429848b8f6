import { lstat, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { blobPath, hashOfBlob } from './content-store.js';
import { addressOf, digestOf, manifestBegin, manifestOf } from './manifest.js';

/** What is wrong with a store. */
export type StoreFinding =
  /** A content is not what its name says, or cannot be read. */
  | { readonly kind: 'damaged'; readonly sha256: string; readonly why: string }
  /** A manifest names a file whose content is not there, or has another length. */
  | { readonly kind: 'lost'; readonly address: string; readonly path: string; readonly sha256: string }
  /** An address that should be there is not. */
  | { readonly kind: 'missing'; readonly address: string; readonly of: string }
  /** Something has no place in a store. */
  | { readonly kind: 'foreign'; readonly path: string };

/** How much was looked at. */
export type StoreCounts = { readonly contents: number; readonly bytes: number; readonly manifests: number };

/** Largest content that is looked at as a manifest, in bytes. */
const largestManifest = 512 * 1024 ** 2;

/**
 * Hashes every content of a store, and looks whether all is there that its manifests name. What has the form of a manifest is taken for one.
 * @throws Error of the system if the store cannot be read
 */
export async function verifyStore(
  store: string,
  onFinding: (finding: StoreFinding) => Promise<void>,
): Promise<StoreCounts> {
  const counts = { contents: 0, bytes: 0, manifests: 0 };
  const root = join(store, 'sha256');
  for (const prefix of (await readdir(root)).sort()) {
    if (!/^[0-9a-f]{2}$/.test(prefix)) {
      await onFinding({ kind: 'foreign', path: join('sha256', prefix) });
      continue;
    }
    for (const rest of (await readdir(join(root, prefix))).sort()) {
      if (/^[0-9a-f]{62}$/.test(rest)) await content(prefix + rest);
      else await onFinding({ kind: 'foreign', path: join('sha256', prefix, rest) });
    }
  }
  return counts;

  async function content(sha256: string): Promise<void> {
    const path = blobPath(store, sha256);
    counts.contents += 1;
    let found: string | undefined;
    try {
      found = await hashOfBlob(path);
    } catch (error) {
      await onFinding({ kind: 'damaged', sha256, why: (error as Error).message });
      return;
    }
    // A worker that exchanges a damaged content never leaves its name without one.
    if (found === undefined) return;
    const { size } = await lstat(path);
    counts.bytes += size;
    if (found !== sha256) {
      await onFinding({ kind: 'damaged', sha256, why: `it holds ${size} bytes with SHA-256 ${found}` });
      return;
    }
    if (size < manifestBegin.length || size > largestManifest) return;
    if (!(await beginsAsManifest(path))) return;
    const manifest = manifestOf(await readFile(path));
    if (!manifest) return;
    counts.manifests += 1;
    for (const file of manifest.files) {
      if ('symlink' in file) continue;
      const there = await lstat(blobPath(store, file.sha256)).catch(() => undefined);
      if (there?.size === file.size) continue;
      await onFinding({ kind: 'lost', address: addressOf(sha256), path: file.path, sha256: file.sha256 });
    }
  }
}

async function beginsAsManifest(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(manifestBegin.length), 0, manifestBegin.length, 0);
    return buffer.toString('latin1') === manifestBegin;
  } finally {
    await file.close();
  }
}

/** Whether a store has what stands behind an address; true for addresses that no store of contents gives. */
export async function holds(store: string, address: string): Promise<boolean> {
  const digest = digestOf(address);
  if (digest === undefined) return true;
  const found = await lstat(blobPath(store, digest)).catch(() => undefined);
  return found?.isFile() === true;
}
