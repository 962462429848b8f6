import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobName } from '../../../content/blob-name.js';
import type { Blob, StoreIdentity } from '../../../content/content.js';
import { idIn, markerOf } from '../../../content/store-marker.js';
import type { MemoirError } from '../../../domain/errors.js';
import type { Edge } from '../../../edge.js';
import { replaceDurably } from '../../../files/durable-file.js';

/** How often the marker is asked for, in milliseconds, so that a store that evicts what nobody asks for keeps it. */
const touchEvery = 300_000;

type Context = {
  readonly directory: string;
  readonly isThere: (name: BlobName) => Promise<boolean>;
  readonly put: (blob: Blob) => Promise<MemoirError | undefined>;
  readonly edge: Pick<Edge, 'uuid'>;
};

/**
 * Tells which store is called: by an id that this server keeps, and a blob there that it is known by. A store that does not have that blob when this server first
 * reaches it is another one, and gets an id and its blob; later it is one that lost what it had, or another under the same address.
 */
export function calledIdentity({ directory, isThere, put, edge }: Context) {
  let known: Promise<string> | undefined;

  async function begin(): Promise<string> {
    await mkdir(directory, { recursive: true });
    const before = await idIn(directory);
    if (before !== undefined && (await isThere(markerOf(before).name))) return before;
    const id = edge.uuid();
    const failed = await put(markerOf(id));
    if (failed) throw failed;
    replaceDurably(join(directory, 'store'), `${id}\n`);
    return id;
  }

  async function now(): Promise<StoreIdentity> {
    const fresh = known === undefined;
    known ??= begin();
    const id = await known.catch((error) => {
      known = undefined;
      throw error;
    });
    return { id, marked: fresh || (await isThere(markerOf(id).name)) };
  }

  const timer = setInterval(() => void now().catch(() => undefined), touchEvery);
  timer.unref();
  return { now, close: () => clearInterval(timer) };
}
