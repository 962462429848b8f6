import type { HashAlgorithm } from '../hash.js';
import { parseCommit, parseTag } from '../objects/commit.js';
import type { IdTable } from '../objects/id-table.js';
import { kinds } from '../objects/pack-entry.js';
import type { KnownObjects } from '../packs/known-objects.js';
import { namedKind } from '../packs/links.js';

/** From where objects are reached. */
export type Roots = {
  /** Ids, in hexadecimal digits, of what must be there. */
  readonly must: Iterable<string>;
  /** Ids of what counts if it is there. */
  readonly may: Iterable<string>;
};

/**
 * Marks everything that some objects reach, in memory of a byte for each object and for what waits.
 * @returns for each pack, in the order of its index, 1 for what was reached
 * @param shallow - commits whose parents are not there, in hexadecimal digits
 * @throws Error naming an object that is reached and not in the packs, or cannot be read: nothing may be concluded then
 */
export function reachedFrom(
  { must, may }: Roots,
  packs: readonly IdTable[],
  known: Pick<KnownObjects, 'read' | 'typeOf'>,
  shallow: ReadonlySet<string>,
  hash: HashAlgorithm,
): readonly Uint8Array[] {
  const marks = packs.map(({ count }) => new Uint8Array(count));
  const waiting: Buffer[] = [];

  /** Marks every copy of an object. Gives whether it was marked for the first time; undefined if it is nowhere. */
  function mark(id: Buffer): boolean | undefined {
    let marked: boolean | undefined;
    for (const [i, ids] of packs.entries()) {
      const place = ids.find(id);
      if (place < 0) continue;
      const own = marks[i] as Uint8Array;
      marked ||= own[place] === 0;
      own[place] = 1;
    }
    return marked;
  }

  /** `type` is that of the object, if it is known: there is nothing in a blob. */
  function reach(id: Buffer, by: string, type = known.typeOf(id)): void {
    const marked = mark(id);
    if (marked === undefined) throw new Error(`object ${id.toString('hex')}, which ${by} names, is missing`);
    if (marked && type !== 'blob') waiting.push(id);
  }

  function reachEntries(content: Buffer, by: string): void {
    for (let at = 0; at < content.length; ) {
      const nul = content.indexOf(0, at);
      const after = nul + 1 + hash.bytes;
      if (nul < 0 || after > content.length) throw malformed(by);
      const kind = kinds[namedKind(content, at)];
      const id = Buffer.from(content.subarray(nul + 1, after));
      at = after;
      if (kind) reach(id, by, kind);
    }
  }

  for (const id of must) reach(Buffer.from(id, 'hex'), 'a ref');
  for (const id of may) {
    const raw = Buffer.from(id, 'hex');
    if (packs.some((ids) => ids.find(raw) >= 0)) reach(raw, 'a job');
  }
  for (let id = waiting.pop(); id; id = waiting.pop()) {
    const hex = id.toString('hex');
    const object = known.read(id);
    if (!object) throw new Error(`object ${hex} is missing`);
    const { type, data } = object;
    const by = `${type} ${hex}`;
    if (type === 'tree') reachEntries(data, by);
    else if (type === 'tag')
      reach(
        Buffer.from(
          parseTag(data, hash.hex, () => malformed(by)),
          'hex',
        ),
        by,
      );
    else if (type === 'commit') {
      const { tree, parents } = parseCommit(data, hash.hex, () => malformed(by));
      reach(Buffer.from(tree, 'hex'), by, 'tree');
      if (!shallow.has(hex)) for (const parent of parents) reach(Buffer.from(parent, 'hex'), by, 'commit');
    }
  }
  return marks;
}

const malformed = (what: string) => new Error(`${what} is malformed`);
