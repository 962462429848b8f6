import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ContentService,
  DescribeContentResponseSchema,
  ListOutputResponseSchema,
  OutputEntry_Kind,
  type OutputEntrySchema,
  ReadLogResponseSchema,
  ReadOutputResponseSchema,
} from '../../../gen/memoir/content/v1/content_service_pb.js';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type BlobName, blobText } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';
import { findInTree } from '../../content/trees/find-in-tree.js';
import { knownDirectories } from '../../content/trees/read-directory.js';
import { treeLimits } from '../../content/trees/tree-limits.js';
import { type TreeEntry, walkTree } from '../../content/trees/walk-tree.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { addressOf, hashOfAddress } from '../../domain/outputs/digest.js';
import type { HeldContent } from '../../jobs/content/held-content.js';
import type { JobsContext } from '../../jobs/context.js';
import { checkRequired, checkUuid } from '../../jobs/limits.js';
import { jobNotFound, mayRead } from '../../jobs/reading/permit.js';
import type { CallContext } from '../call.js';
import type { Implementation } from '../service.js';
import { blobPieces } from './blob-pieces.js';
import { heldLog, heldOutput } from './held-result.js';
import { blobOf } from './kept-content.js';
import { putContent } from './put-content.js';
import type { RawAccess } from './raw-access.js';

/** Longest path that is asked for, in bytes. */
const longestPath = treeLimits.path;

/** memoir.content.v1.ContentService: what jobs made, for who may read them. */
export function contentService(
  context: JobsContext,
  content: ContentStore,
  raw: RawAccess,
  held?: Pick<HeldContent, 'doubt' | 'elsewhere'>,
): Implementation<typeof ContentService> {
  const { streams, sharesRuns, readModel } = context;
  // Many files of one output are read one after the other.
  const known = knownDirectories();

  /** What a caller asks for, once it may read the job, and a look whether it still may. */
  async function asked(uuid: string, call: CallContext, find: (job: Job) => Digest) {
    const { job } = await streams.read(call.caller, checkUuid('uuid', uuid));
    const check = () => {
      if (!mayRead(call.access(), job)) throw jobNotFound(job.uuid);
    };
    return { digest: find(job), check };
  }

  /** What was kept elsewhere, and taken in since. */
  function imported(address: string): Digest | undefined {
    const row = hashOfAddress(address) === undefined ? undefined : readModel.content.ofAddress(address);
    return row && create(DigestSchema, { hash: row.hash, sizeBytes: BigInt(row.size), kind: row.kind });
  }

  /** The blob of a log. */
  async function logOf(digest: Digest): Promise<Digest> {
    if (digest.kind !== ContentKind.TREE) return digest;
    for await (const [first] of walkTree(content, blobOf(digest))) {
      if (first?.node.kind !== 'file') break;
      const { hash, size } = first.node.blob;
      return create(DigestSchema, { hash, sizeBytes: BigInt(size), kind: ContentKind.BLOB });
    }
    throw new MemoirError('FAILED_PRECONDITION', 'NO_LOG', `${addressOf(digest)} is no log: it is not one file`);
  }

  /** What is told of something that is not here: who else has it, or that it is lost. */
  async function lost(error: unknown, digest: Digest, uuid: string): Promise<unknown> {
    if (!(error instanceof MemoirError) || error.reason !== 'BLOB_NOT_FOUND') return error;
    const elsewhere = await held?.elsewhere(digest).catch(() => undefined);
    if (elsewhere) return elsewhere;
    held?.doubt(uuid);
    return lostError(error, digest);
  }

  /** The bytes of a blob. */
  function bytesOf(blob: BlobName, { offset, limit }: Section, check: () => void): AsyncGenerator<Uint8Array> {
    const part = {
      offset: within('offset', offset, blob.size),
      limit: within('limit', limit, Number.MAX_SAFE_INTEGER),
    };
    return blobPieces(content, blob, part, check);
  }

  return {
    async describeContent() {
      return create(DescribeContentResponseSchema, {
        takesOutputs: sharesRuns === true,
        maxEntries: BigInt(treeLimits.entries),
        maxBytes: BigInt(treeLimits.bytes),
        maxDepth: treeLimits.depth,
        maxPathBytes: treeLimits.path,
      });
    },

    putContent: ({ digest }, call) => putContent(context, raw, digest, call),

    async *listOutput({ uuid, path, recursive, attempt }, call) {
      const { digest, check } = await asked(uuid, call, (job) => heldOutput(job, attempt, imported));
      try {
        let first = true;
        const told = (entries: readonly TreeEntry[]) => {
          const message = { entries: entries.map(entryOf), ...(first && { output: digest }) };
          first = false;
          return create(ListOutputResponseSchema, message);
        };
        const found = await findInTree(content, blobOf(digest), path);
        if ('name' in found.node && found.node.kind !== 'directory') {
          yield told([{ path: found.path, node: found.node }]);
          return;
        }
        const { blob } = found.node as { readonly blob: BlobName };
        const options = { at: found.path, ...(!recursive && { levels: 1 }) };
        for await (const entries of walkTree(content, blob, options)) {
          check();
          yield told(entries);
        }
        if (first) yield told([]);
      } catch (error) {
        throw await lost(error, digest, uuid);
      }
    },

    async *readOutput(request, call) {
      checkRequired('path', request.path, longestPath);
      const { digest, check } = await asked(request.uuid, call, (job) => heldOutput(job, request.attempt, imported));
      try {
        const { path, node } = await findInTree(content, blobOf(digest), request.path, known);
        if (node.kind !== 'file') {
          const message = `path ${quote(request.path)} is a directory, which ListOutput lists`;
          throw new MemoirError('INVALID_ARGUMENT', 'IS_DIRECTORY', message, { field: 'path' });
        }
        let file: MessageInitShape<typeof OutputEntrySchema> | undefined = entryOf({ path, node });
        for await (const data of withFirst(bytesOf(node.blob, request, check))) {
          yield create(ReadOutputResponseSchema, { data, ...(file && { file }) });
          file = undefined;
        }
      } catch (error) {
        throw await lost(error, digest, request.uuid);
      }
    },

    async *readLog(request, call) {
      const { digest, check } = await asked(request.uuid, call, (job) => heldLog(job, request.attempt, imported));
      try {
        const bytes = await logOf(digest);
        let log: Digest | undefined = bytes;
        for await (const data of withFirst(bytesOf(blobOf(bytes), request, check))) {
          yield create(ReadLogResponseSchema, { data, ...(log && { log }) });
          log = undefined;
        }
      } catch (error) {
        throw await lost(error, digest, request.uuid);
      }
    },
  };
}

type Section = { readonly offset: bigint; readonly limit: bigint };

/** The same with one piece at least, of no bytes if there are none. */
async function* withFirst(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let any = false;
  for await (const piece of pieces) {
    any = true;
    yield piece;
  }
  if (!any) yield new Uint8Array();
}

function entryOf({ path, node }: TreeEntry): MessageInitShape<typeof OutputEntrySchema> {
  if (node.kind === 'symlink') return { path, kind: OutputEntry_Kind.SYMLINK, target: node.target };
  const { hash, size } = node.blob;
  const digest = { hash, sizeBytes: BigInt(size) };
  if (node.kind === 'directory') {
    return { path, kind: OutputEntry_Kind.DIRECTORY, digest: { ...digest, kind: ContentKind.TREE } };
  }
  const { executable } = node;
  return { path, kind: OutputEntry_Kind.FILE, digest: { ...digest, kind: ContentKind.BLOB }, executable };
}

/** The error of something that servers kept and do not have any more, in the place of one that there is no such blob. */
function lostError(error: MemoirError, digest: Digest): MemoirError {
  return new MemoirError(
    'DATA_LOSS',
    'CONTENT_LOST',
    `not all of ${addressOf(digest)} (${blobText(blobOf(digest))}) is here any more: ${error.message}`,
    { metadata: { address: addressOf(digest) } },
  );
}

/** @throws MemoirError OUT_OF_RANGE naming the value */
function within(field: string, value: bigint, most: number): number {
  if (value <= BigInt(most)) return Number(value);
  throw new MemoirError('OUT_OF_RANGE', 'OUT_OF_RANGE', `${field} ${value} is beyond ${most}`, { field });
}
