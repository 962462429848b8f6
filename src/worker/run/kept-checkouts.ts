import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as others, setTimeout as sleep } from 'node:timers/promises';
import type { CheckedOut } from '../../git/checkout.js';
import { removeTree } from '../remove-tree.js';

/** How something is whose content nobody changed, nor what may be done with it: the time of the last change of an inode is set by the system alone. */
const facts = ['dev', 'ino', 'mode', 'nlink', 'uid', 'gid', 'size', 'mtimeNs', 'ctimeNs'] as const;

/** The same in one text, since there may be many. */
const markOf = (found: BigIntStats): string => facts.map((fact) => found[fact]).join(' ');
const withoutChange = (mark: string): string => mark.slice(0, mark.lastIndexOf(' '));

/** A checkout in the place of a run. */
export type PlacedCheckout = {
  /** What tells which it is: equal ones are as good as each other. */
  readonly key: string;
  readonly place: string;
  readonly done: CheckedOut;
  /** How all of it was before the script began, by path; undefined until that is known. */
  marks: ReadonlyMap<string, string> | undefined;
};

/**
 * Checkouts that runs left as they found them, for the next run of the same tree: to look whether anything is changed costs a small part of what
 * it costs a file system to make, and to remove, thousands of files.
 */
export type KeptCheckouts = {
  /** Moves one that is kept into a place that is not there yet, if all of it is as it was. */
  take(key: string, place: string): Promise<PlacedCheckout | undefined>;
  /** Notes how all of a checkout is. From here on nobody but the script changes it, and it not within the same tick of the clock. */
  mark(checkout: PlacedCheckout): Promise<void>;
  /** Keeps one, once nothing of its run goes on, if all of it is as it was before the script began. Leaves others where they are. */
  keep(checkout: PlacedCheckout): Promise<void>;
};

/** What is smaller is made anew as fast, and of what is larger too much would have to be known. */
const fewestEntries = 16;
const mostEntries = 200_000;

/** Bytes of the disk that an entry takes beside its content, about. */
const entryBytes = 4_096;

/** More than the clocks of file systems take for a tick, in milliseconds. */
const tick = 20;

/** Entries that are looked at without a break: a few milliseconds. */
const atOnce = 256;

/**
 * Keeps them in a directory of this worker alone, of so many bytes together at most; what was used least lately goes first. Only for runs that are kept
 * apart from it, and have ended whole when they have ended.
 */
export function keptCheckouts(directory: string, most: number, name: () => string): KeptCheckouts {
  // In the order of their last use.
  const kept = new Set<PlacedCheckout>();
  const sizeOf = ({ done }: PlacedCheckout) => done.bytes + done.entries * entryBytes;
  const isFit = (one: PlacedCheckout) =>
    one.done.entries >= fewestEntries && one.done.entries <= mostEntries && sizeOf(one) <= most;

  async function makeRoom(): Promise<void> {
    let bytes = 0;
    for (const one of kept) bytes += sizeOf(one);
    for (const one of kept) {
      if (bytes <= most) return;
      kept.delete(one);
      bytes -= sizeOf(one);
      await removeTree(one.place);
    }
  }

  /** Moves one, which changes its root's time alone. */
  async function moved(checkout: PlacedCheckout, marks: ReadonlyMap<string, string>, place: string) {
    const before = marks.get('');
    await rename(checkout.place, place);
    const root = lstatSync(place, { bigint: true });
    const after = markOf(root);
    if (before === undefined || withoutChange(before) !== withoutChange(after)) return undefined;
    return { ...checkout, place, marks: new Map(marks).set('', after) };
  }

  return {
    async take(key, place) {
      const found = [...kept].findLast((one) => one.key === key);
      if (!found) return undefined;
      kept.delete(found);
      try {
        if (found.marks && (await isAsItWas(found.place, found.marks))) {
          const taken = await moved(found, found.marks, place);
          if (taken) return taken;
          await removeTree(place);
        }
      } catch {
        // Somebody removed it, or there is something in its place: it is made anew, which says what is wrong.
      }
      await removeTree(found.place).catch(() => undefined);
      return undefined;
    },
    async mark(checkout) {
      if (!isFit(checkout)) return;
      checkout.marks = await marksOf(checkout.place);
      await sleep(tick);
    },
    async keep(checkout) {
      if (!checkout.marks || !isFit(checkout)) return;
      try {
        if (!(await isAsItWas(checkout.place, checkout.marks))) return;
        await mkdir(directory, { mode: 0o700, recursive: true });
        const one = await moved(checkout, checkout.marks, join(directory, name()));
        if (one) kept.add(one);
        await makeRoom();
      } catch {
        // It is removed with its run, or with the directory of the worker.
      }
    },
  };
}

/** How all of a tree is, by path below it, in bytes as latin1; the root has the empty one. */
async function marksOf(root: string): Promise<ReadonlyMap<string, string>> {
  const marks = new Map<string, string>();
  const left = [''];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    const at = within(root, path);
    const found = lstatSync(at, { bigint: true });
    marks.set(path, markOf(found));
    if (marks.size % atOnce === 0) await others();
    if (!found.isDirectory()) continue;
    for (const name of readdirSync(at, 'latin1')) left.push(path === '' ? name : `${path}/${name}`);
  }
  return marks;
}

/** Whether all of a tree is as it was. What came to be, or is gone, changed the directory that it was in. */
async function isAsItWas(root: string, marks: ReadonlyMap<string, string>): Promise<boolean> {
  let looked = 0;
  for (const [path, mark] of marks) {
    const found = lstatSync(within(root, path), { bigint: true, throwIfNoEntry: false });
    if (!found || markOf(found) !== mark) return false;
    if (++looked % atOnce === 0) await others();
  }
  return true;
}

const within = (root: string, path: string): Buffer =>
  path === '' ? Buffer.from(root) : Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
