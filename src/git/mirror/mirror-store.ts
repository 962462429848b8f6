import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { replaceDurably, syncDirectory } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import { fileKind } from '../file-kind.js';
import type { HashAlgorithm } from '../hash.js';
import { readLayout } from '../layout.js';
import { parseCommit } from '../objects/commit.js';
import { createPageCache } from '../objects/paged-file.js';
import { openPackedRefs } from '../packed-refs.js';
import { type KnownObjects, openKnownObjects } from '../packs/known-objects.js';
import { mergePacks } from '../packs/merge-packs.js';
import type { PackLimits } from '../packs/pack-limits.js';
import { receivePack, removeLeftovers } from '../packs/receive-pack.js';
import type { FetchAnswer } from '../protocol/fetch-request.js';
import type { AdvertisedRefs } from '../protocol/list-refs.js';
import { noteLostTips } from '../prune/lost-tips.js';
import { finishRemoving } from '../prune/prune-packs.js';
import { readShallow } from '../reader/shallow.js';
import { packedRefs, replaceIfOther } from './packed-refs-text.js';

/** Where the objects of a mirror arrive: a bare repository, of which everything that is known is whole but for what `shallow` cuts off. */
export type MirrorStore = {
  readonly path: string;
  readonly hash: HashAlgorithm;
  readonly known: KnownObjects;
  /** What the remote had when it was fetched last, of which everything is known. */
  tips(): string[];
  /** Commits whose parents are not there. */
  shallow(): ReadonlySet<string>;
  /** How far a first fetch in slices is; undefined if there is none, or it is done. */
  slices(): Slices | undefined;
  keepSlices(slices: Slices | undefined): void;
  /** Takes in what a remote sends, whole or not at all. Gives the number of objects. @throws as `receivePack` */
  receive(answer: FetchAnswer, limits: PackLimits & StoreLimits, progress: Progress): Promise<number>;
  /** Puts packs together if there are many. Gives how many it put together. */
  tidy(): Promise<number>;
  /** Takes note of what the remote has, at a time of the wall clock in milliseconds. @throws Error naming a ref whose object is not known */
  note(advertised: AdvertisedRefs, now: number): void;
  close(): void;
};

/** A history that is here from its ends on, so many commits deep, and by how many the next slice goes deeper. */
export type Slices = { readonly depth: number; readonly step: number };

/** How large a mirror may become. */
export type StoreLimits = {
  /** Most bytes of its packs on the disk. */
  readonly mirrorBytes: number;
};

type Progress = (step: 'objects' | 'deltas', done: number, all: number) => void;

/** Bytes of pages of packs and indexes that are kept. */
const pageBytes = 32 * 1024 * 1024;

/**
 * Opens it, made anew if it is not there. The only one that writes to it may open it.
 * @throws Error if it is of another object format
 */
export function openMirrorStore(path: string, hash: HashAlgorithm, limits: PackLimits): MirrorStore {
  prepareRepository(path, hash);
  const layout = readLayout('mirror', path);
  if (layout.hash.name !== hash.name) {
    throw new Error(
      `its objects are named by ${hash.name}, and were by ${layout.hash.name}: it is another repository, which needs another name`,
    );
  }
  const directory = join(path, 'objects/pack');
  makeDirectory(directory);
  finishRemoving(path);
  removeLeftovers(directory);
  const known = openKnownObjects(join(path, 'objects'), hash, createPageCache(pageBytes), limits.deltaBytes);
  const shallow = () => readShallow(layout);
  const damaged = (what: string) => new Error(`its mirror is damaged: packed-refs ${what}`);

  function cutOff(commits: ReadonlySet<string>): void {
    replaceShallow(path, commits);
  }

  /** What the refs named last. */
  function noted(): ReadonlySet<string> {
    const packed = openPackedRefs(join(path, 'packed-refs'), hash.hex, Date.now, damaged);
    try {
      return new Set([...packed.entries()].map(({ id }) => id));
    } finally {
      packed.close();
    }
  }

  function hasParents(commit: string): boolean {
    const object = known.read(Buffer.from(commit, 'hex'));
    if (object?.type !== 'commit') return true;
    const { parents } = parseCommit(
      object.data,
      hash.hex,
      (what) => new Error(`commit ${commit} is malformed: ${what}`),
    );
    return parents.every((parent) => known.typeOf(Buffer.from(parent, 'hex')) === 'commit');
  }

  return {
    path,
    hash,
    known,
    shallow,
    tips: () => [...noted()].filter((id) => known.typeOf(Buffer.from(id, 'hex')) !== undefined),
    slices: () => readSlices(join(path, slicesFile)),
    keepSlices(slices) {
      if (slices) replaceDurably(join(path, slicesFile), `${slices.depth} ${slices.step}\n`);
      else {
        rmSync(join(path, slicesFile), { force: true });
        syncDirectory(path);
      }
    },
    async receive({ pack, ...changes }, packLimits, progress) {
      const before = shallow();
      // What is whole stays whole, whatever a remote says.
      const added = changes.shallow.filter(
        (id) => before.has(id) || known.typeOf(Buffer.from(id, 'hex')) === undefined,
      );
      const all = new Set([...before, ...added]);
      const options = { hash, known, shallow: all, limits: packLimits, monotonic: () => performance.now(), progress };
      const count = await receivePack(withinQuota(pack, directory, packLimits), directory, options, () => {
        if (all.size > before.size) cutOff(all);
      });
      known.rescan();
      const whole = changes.unshallow.filter((id) => all.has(id));
      for (const id of whole) {
        if (!hasParents(id))
          throw new Error(`it says that the history of ${id} is whole now, and parents did not arrive`);
        all.delete(id);
      }
      if (whole.length > 0) cutOff(all);
      return count;
    },
    async tidy() {
      const merged = await mergePacks(directory, hash);
      if (merged > 0) known.rescan();
      return merged;
    },
    note({ refs, head }, now) {
      for (const { name, id } of [...refs, ...(head === undefined ? [] : [{ name: 'HEAD', id: head }])])
        if (known.typeOf(Buffer.from(id, 'hex')) === undefined)
          throw new Error(`the object ${id} of ${name} did not arrive`);
      const own = head === undefined ? [] : [{ name: 'refs/memoir/head', id: head }];
      noteLostTips(path, noted(), new Set([...refs, ...own].map(({ id }) => id)), now);
      replaceIfOther(join(path, 'packed-refs'), packedRefs([...refs, ...own]));
    },
    close: () => known.close(),
  };
}

async function* withinQuota(
  pack: AsyncIterable<Uint8Array>,
  directory: string,
  { mirrorBytes }: StoreLimits,
): AsyncGenerator<Uint8Array> {
  let bytes = readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  for await (const piece of pack) {
    bytes += piece.length;
    if (bytes > mirrorBytes) throw new Error(`its mirror would take more than ${mirrorBytes} bytes`);
    yield piece;
  }
}

/** Says at which commits the history of a repository is cut off: by no file if it is whole, since git goes by that. */
export function replaceShallow(path: string, commits: ReadonlySet<string>): void {
  const file = join(path, 'shallow');
  const lines = [...commits].sort().map((id) => `${id}\n`);
  if (lines.length > 0) replaceIfOther(file, lines.join(''));
  else if (fileKind(file) !== undefined) {
    rmSync(file, { force: true });
    syncDirectory(path);
  }
}

/** The file that there is while a first fetch in slices is not done. */
const slicesFile = 'memoir-slices';

/** Whether a store is there, and everything that a fetch brought to it, with no slice outstanding. */
export function isDone(path: string): boolean {
  return fileKind(join(path, 'packed-refs')) === 'file' && fileKind(join(path, slicesFile)) === undefined;
}

function readSlices(path: string): Slices | undefined {
  if (fileKind(path) !== 'file') return undefined;
  const [, depth, step] = /^(\d{1,10}) (\d{1,10})\n$/.exec(readFileSync(path, 'latin1')) ?? [];
  // What nobody can read is a slice that was cut.
  return { depth: Number(depth ?? 0), step: Math.max(1, Number(step ?? 1)) };
}

/** Makes a bare repository without objects and refs, unless there is one. */
export function prepareRepository(path: string, hash: HashAlgorithm): void {
  makeDirectory(join(path, 'refs'));
  makeDirectory(join(path, 'objects/info'));
  if (fileKind(join(path, 'config')) !== 'file') {
    const format =
      hash.name === 'sha1'
        ? '[core]\n\trepositoryformatversion = 0\n'
        : `[extensions]\n\tobjectformat = ${hash.name}\n[core]\n\trepositoryformatversion = 1\n`;
    // Nothing is collected behind Memoir's back.
    replaceDurably(join(path, 'config'), `${format}\tbare = true\n[gc]\n\tauto = 0\n`);
  }
  if (fileKind(join(path, 'HEAD')) !== 'file') {
    replaceDurably(join(path, 'HEAD'), 'ref: refs/heads/unborn\n');
    syncDirectory(path);
  }
}
