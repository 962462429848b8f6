import { create } from '@bufbuild/protobuf';
import {
  DifferenceCause,
  DifferenceKind,
  type OutputDifference,
  OutputDifferenceSchema,
} from '../../../gen/memoir/jobs/v1/check_pb.js';
import { type BlobName, emptyHash } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';
import { type Node, nodesOf } from '../../content/trees/check-directory.js';
import { readDirectory } from '../../content/trees/read-directory.js';
import { type Excerpt, excerptBytes, isReordered, likelyCause } from '../../domain/checks/likely-cause.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { compareText } from '../../domain/filters/compare-text.js';

/** Largest files whose lines are compared without their order, in bytes. */
const reorderedBytes = 4 * 1024 ** 2;

/** Bytes of each file that are shown around the first one that differs. */
const shownBytes = 24;

/** Where two outputs differ. */
export type Differences = {
  /** In the order of their paths. */
  readonly differences: readonly OutputDifference[];
  /** Whether there are more, or not all of both could be read. */
  readonly incomplete: boolean;
};

/** How far two outputs are compared. */
export type Comparing = {
  /** Most differences that are told. */
  readonly most: number;
  /** Most bytes of files that are read in all. */
  readonly bytes: number;
  /** Ends the comparison. */
  readonly signal: AbortSignal;
};

/** Content to compare: files, or one file. */
export type ComparedContent = { readonly blob: BlobName; readonly isTree: boolean };

/**
 * Compares two outputs, or inputs, entry by entry, and the files that differ byte by byte up to the first difference. A directory that only one has is told
 * of as such, without what is in it. What is one file has an empty path.
 * @throws MemoirError as the store does, but for what is not there; what the signal was aborted with
 */
export async function compareOutputs(
  content: Pick<ContentStore, 'get' | 'read'>,
  one: ComparedContent,
  other: ComparedContent,
  { most, bytes, signal }: Comparing,
): Promise<Differences> {
  const differences: OutputDifference[] = [];
  let left = bytes;
  let incomplete = false;

  /** What lies in a directory; undefined if it is not there any more. */
  async function nodesIn(blob: BlobName): Promise<Map<string, Node> | undefined> {
    const data = blob.hash === emptyHash ? new Uint8Array() : await readDirectory(content, blob);
    if (data instanceof MemoirError) {
      if (data.code !== 'NOT_FOUND') throw data;
      incomplete = true;
      return undefined;
    }
    return new Map(nodesOf(blob, data).map((node) => [node.name, node]));
  }

  function differs(path: string, kind: DifferenceKind, detail: string): void {
    differences.push(create(OutputDifferenceSchema, { path, kind, detail }));
  }

  async function compareDirectories(ours: BlobName, theirs: BlobName, prefix: string): Promise<void> {
    signal.throwIfAborted();
    const [before, again] = [await nodesIn(ours), await nodesIn(theirs)];
    if (!before || !again) return;
    const names = [...new Set([...before.keys(), ...again.keys()])].sort(compareText);
    for (const name of names) {
      if (differences.length >= most) {
        incomplete = true;
        return;
      }
      await compareNodes(prefix + name, before.get(name), again.get(name));
    }
  }

  async function compareNodes(path: string, ours: Node | undefined, theirs: Node | undefined): Promise<void> {
    if (!ours || !theirs) {
      const kind = ours ? DifferenceKind.ONLY_BEFORE : DifferenceKind.ONLY_AGAIN;
      return differs(path, kind, `a ${nodeText((ours ?? theirs) as Node)} that only one has`);
    }
    if (ours.kind === 'directory' && theirs.kind === 'directory') {
      if (ours.blob.hash !== theirs.blob.hash) await compareDirectories(ours.blob, theirs.blob, `${path}/`);
    } else if (ours.kind === 'file' && theirs.kind === 'file') {
      if (ours.executable !== theirs.executable) {
        const which = ours.executable ? 'first' : 'second';
        differs(path, DifferenceKind.EXECUTABLE, `executable in the ${which} alone`);
      }
      if (ours.blob.hash !== theirs.blob.hash) differences.push(await compareFiles(path, ours.blob, theirs.blob));
    } else if (ours.kind === 'symlink' && theirs.kind === 'symlink') {
      if (ours.target === theirs.target) return;
      differs(path, DifferenceKind.TARGET, `it leads to ${quote(ours.target)} and to ${quote(theirs.target)}`);
    } else differs(path, DifferenceKind.TYPE, `a ${nodeText(ours)} and a ${nodeText(theirs)}`);
  }

  async function compareFiles(path: string, ours: BlobName, theirs: BlobName): Promise<OutputDifference> {
    const kind = DifferenceKind.BYTES;
    const sizes = `${ours.size} and ${theirs.size} bytes`;
    const unread = (why: string) => {
      incomplete = true;
      return create(OutputDifferenceSchema, { path, kind, detail: `${sizes}; ${why}` });
    };
    try {
      const at = await firstDifference(ours, theirs);
      if (at === undefined) return unread('they were not read, since they are too large to be compared here');
      const [before, again] = [await excerptAt(ours, at), await excerptAt(theirs, at)];
      const cause = (await reordered(ours, theirs)) ? DifferenceCause.ORDER : likelyCause(before, again);
      const detail = `${shown(before)} and ${shown(again)}`;
      return create(OutputDifferenceSchema, { path, kind, firstByte: BigInt(at), cause, detail });
    } catch (error) {
      if (!(error instanceof MemoirError) || error.code !== 'NOT_FOUND') throw error;
      return unread('not both are held here any more, so that only their digests tell');
    }
  }

  /** The first byte that differs; undefined if more would be read before it than may be. */
  async function firstDifference(ours: BlobName, theirs: BlobName): Promise<number | undefined> {
    const shorter = Math.min(ours.size, theirs.size);
    if (shorter === 0) return 0;
    const readings = await Promise.all([content.read(ours, 0, ours.size), content.read(theirs, 0, theirs.size)]);
    try {
      let [a, b]: [Uint8Array, Uint8Array] = [new Uint8Array(), new Uint8Array()];
      for (let at = 0; ; ) {
        signal.throwIfAborted();
        if (a.length === 0) a = await readings[0].next();
        if (b.length === 0) b = await readings[1].next();
        const length = Math.min(a.length, b.length);
        if (length === 0) return at;
        left -= 2 * length;
        if (Buffer.compare(a.subarray(0, length), b.subarray(0, length)) !== 0) {
          for (let i = 0; i < length; i++) if (a[i] !== b[i]) return at + i;
        }
        at += length;
        if (left <= 0) return undefined;
        [a, b] = [a.subarray(length), b.subarray(length)];
      }
    } finally {
      for (const reading of readings) await reading.close();
    }
  }

  async function excerptAt(blob: BlobName, place: number): Promise<Excerpt> {
    const offset = Math.max(0, place - excerptBytes.before);
    const bytes = await bytesOf(blob, offset, place - offset + excerptBytes.after);
    return { bytes, at: place - offset, offset };
  }

  async function bytesOf(blob: BlobName, offset: number, limit: number): Promise<Uint8Array> {
    const most = Math.min(limit, blob.size - offset);
    if (most <= 0) return new Uint8Array();
    const reading = await content.read(blob, offset, most);
    try {
      const pieces: Uint8Array[] = [];
      for (let got = await reading.next(); got.length > 0; got = await reading.next()) pieces.push(got);
      return Buffer.concat(pieces);
    } finally {
      await reading.close();
    }
  }

  async function reordered(ours: BlobName, theirs: BlobName): Promise<boolean> {
    if (ours.size !== theirs.size || ours.size > reorderedBytes || 2 * ours.size > left) return false;
    left -= 2 * ours.size;
    return isReordered(await bytesOf(ours, 0, ours.size), await bytesOf(theirs, 0, theirs.size));
  }

  if (one.isTree && other.isTree) await compareDirectories(one.blob, other.blob, '');
  else await compareNodes('', rootOf(one), rootOf(other));
  return { differences, incomplete };
}

function rootOf({ blob, isTree }: ComparedContent): Node {
  return isTree ? { kind: 'directory', name: '', blob } : { kind: 'file', name: '', blob, executable: false };
}

function nodeText({ kind }: Node): string {
  return kind === 'symlink' ? 'link' : kind;
}

/** What stands around the byte that differs. */
function shown({ bytes, at }: Excerpt): string {
  const text = Buffer.from(bytes.subarray(Math.max(0, at - shownBytes), at + shownBytes)).toString('utf8');
  return quote(text);
}
