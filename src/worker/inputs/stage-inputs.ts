import { constants } from 'node:fs';
import { chmod, copyFile, link, mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import canonicalize from 'canonicalize';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { batches } from '../../content/batches.js';
import { type BlobName, emptyHash } from '../../content/blob-name.js';
import { type TreeLimits, treeLimits } from '../../content/trees/tree-limits.js';
import { walkTree } from '../../content/trees/walk-tree.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { claimHeader, claimText } from '../../rpc/claim-header.js';
import type { CallSettings } from '../../rpc/client.js';
import { RunFailure } from '../run-failure.js';
import {
  BlobGone,
  batchBlobs,
  batchBytes,
  fetchBatch,
  fetchLarge,
  type InputSource,
  largestInBatch,
} from './fetch-blobs.js';
import { type InputCache, WrongBytes } from './input-cache.js';
import { type Staged, stagingPlan } from './staging-plan.js';

/** How a worker gives runs their inputs. */
export type Staging = {
  readonly source: InputSource;
  readonly cache: InputCache;
  /** Most bytes of all inputs of a job. */
  readonly maxBytes: number;
  /** Whether files share their blocks with the cache where the file system can do that, until one of them is written. */
  readonly clone: boolean;
  /** Whether files are those of the cache: only for a run that is kept apart from the cache, and sees its inputs read-only. */
  readonly link?: boolean;
  /** How large all inputs of a job may be besides; what holds for every tree unless given. */
  readonly limits?: TreeLimits;
};

/** Where inputs of a run are put. */
export type InputPlaces = {
  /** The directory. */
  readonly inputs: string;
  /** The file that tells where each input is. */
  readonly inputsJson: string;
};

/** What was staged. */
export type StagedInputs = {
  /** What the script's environment has of it; nothing for a job without inputs. */
  readonly variables: Readonly<Record<string, string>>;
  /** How many bytes the files have. */
  readonly bytes: bigint;
};

/** What can be read in one call. */
const readable = { blobs: batchBlobs, bytes: batchBytes };
const sizeOf = ({ size }: BlobName) => size;

/** Files that are fetched and copied at a time. */
const lanes = 4;

/** A file that is staged. */
type StagedFile = { readonly at: string; readonly blob: BlobName; readonly executable: boolean };

/**
 * Puts the inputs of a job where its script finds them: read-only, in files of the run's own, so that nothing that the script does to them reaches
 * the cache or another run.
 * @param shown the same places as the script sees them
 * @throws RunFailure INPUT_LOST, INPUT_TOO_LARGE, BAD_INPUT, INPUT_NOT_STAGED naming the input; Error of the system; the signal's reason
 */
export async function stageInputs(
  { source, cache, maxBytes, clone, link: links = false, limits: bounds = treeLimits }: Staging,
  { uuid, inputs }: Pick<Job, 'uuid' | 'inputs'>,
  claimToken: Uint8Array,
  places: InputPlaces,
  shown: InputPlaces,
  signal: AbortSignal,
): Promise<StagedInputs> {
  if (inputs.length === 0) return { variables: {}, bytes: 0n };
  const counted = (blobs: Iterable<BlobName>) => source.countedOn?.add({ uuid, claimToken }, blobs);
  const claim = { [claimHeader]: claimText(uuid, claimToken) };
  const call: CallSettings = source.elsewhere ? {} : { metadata: claim };
  const plan = stagingPlan(inputs);
  const most: TreeLimits = { ...bounds, bytes: Math.min(bounds.bytes, maxBytes) };
  let left = most;
  const directories = new Set<string>();
  const linked = new Set<string>();

  await mkdir(places.inputs, { mode: 0o700 });
  for (const one of plan.staged) {
    await naming(one, async () => {
      await makeDirectories(dirname(placeOf(one)));
      if (one.isTree) await stageTree(one);
      else await stageFiles([take({ at: placeOf(one), blob: one.blob, executable: one.executable })]);
    });
  }
  for (const [pointer, place] of plan.places) {
    const found = await stat(join(places.inputs, place)).catch(() => undefined);
    if (!found) {
      throw new RunFailure(
        'INPUT_NOT_STAGED',
        `the input at ${quote(pointer)} stands behind a link that leads out of what else is an input; name the whole tree as one`,
      );
    }
  }
  // The deepest first, since nothing can be made in them any more.
  for (const directory of [...directories].reverse()) await chmod(directory, 0o555);
  await chmod(places.inputs, 0o555);
  const told = Object.fromEntries(Array.from(plan.places, ([pointer, place]) => [pointer, join(shown.inputs, place)]));
  await writeFile(places.inputsJson, canonicalize(told) as string, { flag: 'wx', mode: 0o444 });
  const variables = { MEMOIR_INPUTS: shown.inputs, MEMOIR_INPUTS_JSON: shown.inputsJson };
  return { variables, bytes: BigInt(most.bytes - left.bytes) };

  function placeOf({ content, path }: Staged): string {
    return path === '' ? join(places.inputs, content) : join(places.inputs, content, path);
  }

  /** The directories down to one, which are made read-only in the end. */
  async function makeDirectories(directory: string): Promise<void> {
    if (directory === places.inputs || directories.has(directory)) return;
    await makeDirectories(dirname(directory));
    await makeDirectory(directory);
  }

  async function makeDirectory(directory: string): Promise<void> {
    await mkdir(directory, { mode: 0o700 });
    directories.add(directory);
  }

  function take(file: StagedFile): StagedFile {
    counted([file.blob]);
    left = { ...left, entries: left.entries - 1, bytes: left.bytes - file.blob.size };
    if (left.bytes < 0) throw tooLarge(`they have more than ${most.bytes} bytes`);
    if (left.entries < 0) throw tooLarge(`they have more than ${most.entries} entries`);
    return file;
  }

  async function stageTree(tree: Staged): Promise<void> {
    const root = placeOf(tree);
    const links: { readonly at: string; readonly target: string }[] = [];
    await makeDirectory(root);
    // It was counted for where it stands in the content, which counts for its depth and for where its links may lead.
    const within = tree.path === '' ? root : join(places.inputs, tree.content);
    const limits = left;
    for await (const entries of walkTree({ get: readDirectories }, tree.blob, { limits, at: tree.path })) {
      const files: StagedFile[] = [];
      for (const { path, node } of entries) {
        const at = join(within, path);
        if (node.kind === 'file') files.push(take({ at, blob: node.blob, executable: node.executable }));
        else {
          left = { ...left, entries: left.entries - 1 };
          if (node.kind === 'directory') await makeDirectory(at);
          else links.push({ at, target: node.target });
        }
      }
      signal.throwIfAborted();
      await stageFiles(files);
    }
    // Last, so that nothing is written through one.
    for (const { at, target } of links) await symlink(target, at);
  }

  async function readDirectories(blobs: readonly BlobName[]): Promise<readonly (Uint8Array | MemoirError)[]> {
    counted(blobs);
    const found: Uint8Array[] = [];
    for (const batch of batches(blobs, readable, sizeOf)) {
      const read = await fetchBatch(source, batch, call, signal);
      for (const { hash } of batch) found.push(read.get(hash) as Uint8Array);
    }
    return found;
  }

  async function stageFiles(files: readonly StagedFile[]): Promise<void> {
    const small = new Map<string, BlobName>();
    for (const { blob } of files) {
      if (blob.size <= largestInBatch && blob.hash !== emptyHash && !cache.has(blob)) small.set(blob.hash, blob);
    }
    const isSmall = (file: StagedFile) => small.has(file.blob.hash);
    for (const batch of batches(small.values(), readable, sizeOf)) {
      const read = await fetchBatch(source, batch, call, signal);
      const hashes = new Set(batch.map(({ hash }) => hash));
      await inLanes(
        files.filter(({ blob }) => hashes.has(blob.hash)),
        (file) => stageFile(file, read.get(file.blob.hash)),
      );
    }
    await inLanes(
      files.filter((file) => !isSmall(file)),
      (file) => stageFile(file),
    );
  }

  /** Links a file of the cache, where that may be: once in a run, so that no two of its files are the same, and with the mode that the cache has. */
  async function isLinked({ hash }: BlobName, path: string, at: string, executable: boolean): Promise<boolean> {
    if (!links || executable || linked.has(hash)) return false;
    linked.add(hash);
    try {
      await link(path, at);
      return true;
    } catch {
      // On another file system, or there are too many links: it is copied.
      linked.delete(hash);
      return false;
    }
  }

  async function stageFile({ at, blob, executable }: StagedFile, data?: Uint8Array): Promise<void> {
    signal.throwIfAborted();
    const mode = executable ? 0o555 : 0o444;
    if (blob.hash === emptyHash) return writeFile(at, '', { flag: 'wx', mode });
    const fetch = (file: Parameters<typeof fetchLarge>[2]) =>
      data ? file.writeFile(data) : fetchLarge(source, blob, file, call, signal);
    await cache.with(blob, fetch, async (path) => {
      // Of a try before, where somebody changed the cache meanwhile.
      await rm(at, { force: true });
      if (await isLinked(blob, path, at, executable)) return;
      await copyFile(path, at, clone ? constants.COPYFILE_FICLONE : 0);
      await chmod(at, mode);
    });
  }
}

/** Does something for each, several at a time; what fails first ends it. */
async function inLanes<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const left = all.values();
  let failed = false;
  const ends = await Promise.allSettled(
    Array.from({ length: Math.min(lanes, all.length) }, async () => {
      for (const one of left) {
        if (failed) return;
        await work(one).catch((error) => {
          failed = true;
          throw error;
        });
      }
    }),
  );
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** The same, an error of the content told as one of the input. */
async function naming({ content, path }: Staged, work: () => Promise<void>): Promise<void> {
  const what = `the input ${quote(`sha256:${content}${path === '' ? '' : `/${path}`}`)}`;
  try {
    await work();
  } catch (error) {
    if (error instanceof BlobGone || error instanceof WrongBytes) {
      const why = error instanceof BlobGone ? 'is not held any more' : 'came with other bytes than its own';
      throw new RunFailure(
        'INPUT_LOST',
        `${what} ${why} (blob ${error.blob.hash}); among its inputs the job names which job gave it, and could make it anew`,
      );
    }
    if (error instanceof MemoirError) {
      if (error.reason === 'TREE_TOO_LARGE') throw tooLarge(`${what}: ${error.message}`);
      throw new RunFailure('BAD_INPUT', `${what} cannot be given: ${error.message}`);
    }
    throw error;
  }
}

const tooLarge = (why: string) => new RunFailure('INPUT_TOO_LARGE', `the inputs are too large: ${why}`);
