import { create } from '@bufbuild/protobuf';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { ContentRow } from '../../../projections/read-model/content/content.js';
import type { PlaceOfBlob } from '../../content/erase-tree.js';
import type { LocalContent } from '../../content/local-content.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { addressOf, hashOfAddress } from '../../domain/outputs/digest.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { HeldContent } from './held-content.js';
import { type Lost, type RecordingContent, recordLost } from './record-content.js';
import type { Retained } from './retained.js';

/** What was erased. */
export type Erased = {
  /** Outputs and logs that are lost by it, by their addresses. */
  readonly lost: readonly string[];
  /** Blobs that were removed. */
  readonly blobs: number;
  /** Of a tree, what is below it and stays, since something else needs it. */
  readonly stays: readonly Staying[];
  /** How many these are. */
  readonly staysCount: number;
};

/** A blob of an erased tree that something else needs. */
export type Staying = {
  readonly address: string;
  /** Where the tree has it. */
  readonly path: string;
  /** Address of an output, log or input that needs it. */
  readonly neededBy: string;
};

/** What is erased with. */
export type ErasingContext = RecordingContent &
  Pick<JobsContext, 'readModel'> & {
    readonly held: Pick<HeldContent, 'inspect'>;
    readonly local: LocalContent;
    /** What is kept, by all of the log. */
    readonly all: () => Promise<readonly Retained[]>;
  };

/** Outputs and logs that are looked through at once, and blobs that are recorded and removed at once. */
const atOnce = 64;

/** Most blobs that are told of which stay. */
const mostTold = 1_000;

/**
 * Takes a blob or tree away for good, with what is below a tree and nothing else needs: first it is recorded that it must not exist, with who says so and
 * why, so that it is not taken again; then what is lost by that; then it goes.
 * @throws MemoirError INVALID_ARGUMENT BAD_ADDRESS; NOT_FOUND BLOB_NOT_FOUND if it is not here, and nothing has it
 */
export async function eraseContent(
  { held, local: content, all, ...context }: ErasingContext,
  caller: Caller,
  address: string,
  reason: string,
): Promise<Erased> {
  const { readModel } = context;
  const hash = hashOfAddress(address);
  if (hash === undefined) {
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_ADDRESS', `address ${quote(address)} is none of content`, {
      field: 'address',
    });
  }
  const { id: storeId, marked } = await content.identity();
  if (!marked) throw emptied(storeId);
  const those = await all();
  const row = readModel.content.get(hash);
  const having: (PlaceOfBlob & { readonly row: ContentRow })[] = [];
  await inBatches(those, atOnce, async (batch) => {
    const roots = batch.map(({ root }) => root);
    for (const [i, place] of (await content.places(roots, hash)).entries()) {
      if (place) having.push({ row: (batch[i] as Retained).row, ...place });
    }
  });
  const asTree = having.find(({ isTree }) => isTree);
  const kind = row?.kind ?? (asTree ? ContentKind.TREE : ContentKind.BLOB);
  const missing = create(DigestSchema, { hash, sizeBytes: BigInt(row?.size ?? having[0]?.size ?? 0), kind });
  const loss = { reason: ContentLossReason.ERASED, storeId, message: reason };
  const known = readModel.content.isErased(hash);
  if (having.length === 0 && !known && !(await content.isHere(hash))) {
    throw new MemoirError('NOT_FOUND', 'BLOB_NOT_FOUND', `no content ${quote(address)} is here`, { field: 'address' });
  }
  const record = (lost: Omit<Lost, keyof typeof loss>) => recordLost(context, caller, { ...loss, ...lost });
  await record({ digest: missing, missing, path: '' });
  for (const { row: one, path } of having) {
    if (one.hash !== hash) await record({ digest: digestOf(one), missing, path });
  }

  /** Erases what is below the tree and nothing else needs. The tree itself goes last, so that all of this can be done again. */
  const eraseBelow = async (at: string): Promise<Pick<Erased, 'blobs' | 'stays' | 'staysCount'>> => {
    const { erasing } = content;
    const lost = new Set(having.map(({ row: one }) => one.hash));
    await erasing.begin({ hash, size: Number(missing.sizeBytes) }, at);
    try {
      const staying = those.filter((one) => (one.kept || !one.lost) && !lost.has(one.row.hash));
      await inBatches(staying, atOnce, (batch) => erasing.stay(batch.map(({ root }) => root)));
      let blobs = 0;
      for (let from = 0; ; from += atOnce) {
        const own = await erasing.own(from, atOnce);
        if (own.length === 0) break;
        await Promise.all(
          own.map(({ name, isTree }) => {
            const kind = isTree ? ContentKind.TREE : ContentKind.BLOB;
            const digest = create(DigestSchema, { hash: name.hash, sizeBytes: BigInt(name.size), kind });
            return record({ digest, missing: digest, path: '' });
          }),
        );
        blobs += await content.erase(own.map(({ name }) => name.hash));
      }
      const { count, first } = await erasing.needed(mostTold);
      const stays = first.map(({ blob, path, by }) => ({
        address: addressOf(blob),
        path,
        neededBy: addressOf({ hash: by }),
      }));
      return { blobs, stays, staysCount: count };
    } finally {
      await erasing.end();
    }
  };

  const below = asTree ? await eraseBelow(asTree.path) : { blobs: 0, stays: [], staysCount: 0 };
  const blobs = below.blobs + (await content.erase([hash]));
  // What was stored meanwhile may have had some of it.
  const last = those.at(-1)?.row.position ?? 0;
  const since = (await all()).filter((one) => one.row.position > last && !one.lost);
  const also: string[] = [];
  await inBatches(since, atOnce, async (batch) => {
    for (const { row: one } of batch) {
      const lacks = await held.inspect(digestOf(one), true);
      if (lacks && (await record({ digest: lacks.digest, missing: lacks.missing, path: lacks.path }))) {
        also.push(addressOf(one));
      }
    }
  });
  return { ...below, lost: [...having.map(({ row: one }) => addressOf(one)), ...also], blobs };
}

/** Works through items, some at once, until the signal ends that between two steps. */
export async function inBatches<T>(
  items: readonly T[],
  size: number,
  work: (batch: readonly T[]) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  for (let at = 0; at < items.length; at += size) {
    signal?.throwIfAborted();
    await work(items.slice(at, at + size));
  }
}

/** The digest of an output or log. */
export function digestOf({ hash, size, kind }: ContentRow): Digest {
  return create(DigestSchema, { hash, sizeBytes: BigInt(size), kind });
}

/** The error of a store that may be away. */
export function emptied(id: string): MemoirError {
  return new MemoirError(
    'UNAVAILABLE',
    'CONTENT_UNAVAILABLE',
    `content store ${id} does not have the blob that it is known by: it is away, or was emptied`,
  );
}
