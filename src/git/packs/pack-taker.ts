import type { HashAlgorithm } from '../hash.js';
import { checkedId } from '../objects/checked-id.js';
import type { ObjectType } from '../objects/object.js';
import type { KnownObjects } from './known-objects.js';
import { createLinks } from './links.js';
import type { PackTable } from './pack-table.js';
import type { Taker } from './scan-pack.js';

/** Takes objects of a pack, and then looks at what those name that it took. */
export type PackTaker = Taker & {
  /**
   * @param sorted - rows of the whole table in the order of their ids
   * @throws Error as `Links.check`
   */
  checkLinks(sorted: Uint32Array): void;
};

/** What objects of a pack are looked at with. */
export type TakenWith = {
  readonly hash: HashAlgorithm;
  readonly known: KnownObjects;
  /** Commits whose parents need not be there, in hexadecimal digits. */
  readonly shallow: ReadonlySet<string>;
  /** Most ids that may be named and are not known. */
  readonly most: number;
  readonly idOf?: typeof checkedId;
};

/**
 * Gives every object its id, and takes note of what it names.
 * @throws Error from what takes: of an object that is malformed, or is known with other content
 */
export function packTaker(table: PackTable, { hash, known, shallow, most, idOf = checkedId }: TakenWith): PackTaker {
  const links = createLinks(hash, known, shallow, most);
  return {
    take(row, type, data) {
      const id = idOf(hash, type, data);
      table.ids.set(id, row * hash.bytes);
      if (known.typeOf(id) !== undefined) refuseOther(id, type, data, known);
      links.add(id, type, data);
    },
    async takeLarge(row, type, length, again) {
      const id = Buffer.from(table.id(row));
      if (known.typeOf(id) === undefined) return;
      const other = known.read(id);
      let at = 0;
      let same = other?.type === type && other.data.length === length;
      await again((piece) => {
        same &&= other?.data.subarray(at, at + piece.length).equals(piece) === true;
        at += piece.length;
      });
      if (!same) throw otherObject(id);
    },
    checkLinks: (sorted) => links.check(typesBy(table, sorted)),
  };
}

function refuseOther(id: Buffer, type: ObjectType, data: Buffer, known: KnownObjects): void {
  const other = known.read(id);
  if (other && (other.type !== type || !other.data.equals(data))) throw otherObject(id);
}

function otherObject(id: Buffer): Error {
  return new Error(`it sends other content for object ${id.toString('hex')} than before: two objects have the same id`);
}

/** Looks up the number of the kind that an object of the pack has; 0 if it is not in it. */
function typesBy(table: PackTable, sorted: Uint32Array): (id: Buffer) => number {
  const words = Uint32Array.from(sorted, (row) => table.ids.readUInt32BE(row * table.idBytes));
  return (id) => {
    const word = id.readUInt32BE(0);
    let low = 0;
    let high = words.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((words[middle] as number) < word) low = middle + 1;
      else high = middle;
    }
    for (; low < words.length && words[low] === word; low++) {
      const row = sorted[low] as number;
      if (table.id(row).equals(id)) return table.type[row] as number;
    }
    return 0;
  };
}
