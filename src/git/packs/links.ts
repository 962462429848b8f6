import { randomInt } from 'node:crypto';
import type { HashAlgorithm } from '../hash.js';
import { parseCommit, parseTag } from '../objects/commit.js';
import type { ObjectType } from '../objects/object.js';
import { kinds } from '../objects/pack-entry.js';
import type { KnownObjects } from './known-objects.js';

/** What the objects of a pack name: each id once, with the kind that it is to have. */
export type Links = {
  /** Takes note of what an object names. @throws Error naming it if it is malformed, or names too much that is nowhere */
  add(id: Buffer, type: ObjectType, data: Buffer): void;
  /**
   * Looks all of it up among the objects of the pack; what is known was looked up before.
   * @param typeOf - kind of an object of the pack by its number in `kinds`; 0 if it is not there
   * @throws Error naming an object that is nowhere, or of another kind
   */
  check(typeOf: (id: Buffer) => number): void;
};

const [, commitKind, treeKind, blobKind, tagKind] = [0, 1, 2, 3, 4] as const;

/** Where an object need only be there, whatever it is. */
const anyKind = 5;

/**
 * Nothing is named yet.
 * @param shallow - commits whose parents need not be there, in hexadecimal digits
 * @param most - most ids that may be named and are not known
 */
export function createLinks(
  hash: HashAlgorithm,
  known: KnownObjects,
  shallow: ReadonlySet<string>,
  most: number,
): Links {
  // Ids in trees are whatever somebody wrote there: by the seed nobody can choose such as collide in the table.
  const seed = randomInt(2 ** 32 - 1) | 0;
  const { bytes } = hash;
  let room = 4_096;
  let ids = Buffer.allocUnsafe(room * bytes);
  /** 0 for a free place; else the kind that is wanted. */
  let wanted = new Uint8Array(room);
  let count = 0;

  function placeOf(from: Buffer, at: number): number {
    let mixed = seed;
    for (let i = 0; i < bytes; i += 4) {
      const word =
        ((from[at + i] as number) << 24) |
        ((from[at + i + 1] as number) << 16) |
        ((from[at + i + 2] as number) << 8) |
        (from[at + i + 3] as number);
      mixed = Math.imul(mixed ^ word, 0x9e3779b1);
      mixed ^= mixed >>> 15;
    }
    return (mixed >>> 0) & (room - 1);
  }

  function isAt(place: number, from: Buffer, at: number): boolean {
    const start = place * bytes;
    for (let i = 0; i < bytes; i++) if (ids[start + i] !== from[at + i]) return false;
    return true;
  }

  function find(from: Buffer, at: number): number {
    let place = placeOf(from, at);
    while (wanted[place] !== 0 && !isAt(place, from, at)) place = (place + 1) & (room - 1);
    return place;
  }

  function grow(): void {
    const [before, were, places] = [ids, wanted, room];
    room *= 2;
    ids = Buffer.allocUnsafe(room * bytes);
    wanted = new Uint8Array(room);
    for (let old = 0; old < places; old++) {
      const kind = were[old] as number;
      if (kind === 0) continue;
      const place = find(before, old * bytes);
      wanted[place] = kind;
      before.copy(ids, place * bytes, old * bytes, (old + 1) * bytes);
    }
  }

  function link(from: Buffer, at: number, kind: number, by: Buffer): void {
    const place = find(from, at);
    const before = wanted[place] as number;
    if (before !== 0) {
      // Whether it is known does not depend on who names it; its kind was looked at then.
      if (kind !== before && kind !== anyKind && before !== anyKind)
        throw new Error(
          `object ${hex(by)} names ${hex(from.subarray(at, at + bytes))} as a ${kinds[kind]}, and another as a ${kinds[before]}`,
        );
      if (before === anyKind) wanted[place] = kind;
      return;
    }
    const id = Buffer.from(from.subarray(at, at + bytes));
    const type = known.typeOf(id);
    if (type !== undefined) {
      if (kind !== anyKind && type !== kinds[kind])
        throw new Error(`object ${hex(by)} names ${hex(id)} as a ${kinds[kind]}, and it is a ${type}`);
    } else if (++unknown > most) {
      throw new Error(`object ${hex(by)} names ${hex(id)}, and with it more objects than are there`);
    }
    ids.set(id, place * bytes);
    wanted[place] = kind;
    if (++count * 2 > room) grow();
  }

  let unknown = 0;

  function addTree(id: Buffer, data: Buffer): void {
    const { length } = data;
    for (let at = 0; at < length; ) {
      const nul = data.indexOf(0, at);
      if (nul < 0 || nul + 1 + bytes > length) throw malformed(id, 'tree');
      const kind = namedKind(data, at);
      if (kind !== 0) link(data, nul + 1, kind, id);
      at = nul + 1 + bytes;
    }
  }

  function addCommit(id: Buffer, data: Buffer): void {
    const { tree, parents } = parseCommit(data, hash.hex, () => malformed(id, 'commit'));
    link(Buffer.from(tree, 'hex'), 0, treeKind, id);
    if (shallow.has(hex(id))) return;
    for (const parent of parents) link(Buffer.from(parent, 'hex'), 0, commitKind, id);
  }

  function addTag(id: Buffer, data: Buffer): void {
    const target = parseTag(data, hash.hex, () => malformed(id, 'tag'));
    const type = /^[^\n]*\ntype (\w+)\n/.exec(data.toString('latin1', 0, 200))?.[1];
    const kind = kinds.findIndex((name) => name !== undefined && name === type);
    link(Buffer.from(target, 'hex'), 0, kind < commitKind || kind > tagKind ? anyKind : kind, id);
  }

  return {
    add(id, type, data) {
      if (type === 'tree') addTree(id, data);
      else if (type === 'commit') addCommit(id, data);
      else if (type === 'tag') addTag(id, data);
    },
    check(typeOf) {
      for (let place = 0; place < room; place++) {
        const kind = wanted[place] as number;
        if (kind === 0) continue;
        const id = ids.subarray(place * bytes, (place + 1) * bytes);
        const type = typeOf(id);
        if (type === kind || (kind === anyKind && type !== 0)) continue;
        if (type !== 0)
          throw new Error(`object ${hex(id)} is named as a ${kinds[kind] ?? 'part'}, and is a ${kinds[type]}`);
        if (known.typeOf(id) === undefined)
          throw new Error(`object ${hex(id)} is named by what arrived, and did not arrive`);
      }
    },
  };
}

/**
 * The kind, a number in `kinds`, of what an entry of a tree names, by its mode; 0 for a submodule, which is in no pack. An entry is a mode in octal
 * digits, a space, a name, a zero, and an id.
 */
export function namedKind(data: Buffer, at: number): number {
  const [first, second] = [data[at], data[at + 1]];
  if (first === 0x31 && second === 0x36 && data[at + 6] === 0x20) return 0;
  return first === 0x34 || (first === 0x30 && second === 0x34) ? treeKind : blobKind;
}

const hex = (id: Buffer): string => id.toString('hex');

function malformed(id: Buffer, type: string): Error {
  return new Error(`its pack is malformed: the ${type} ${hex(id)} cannot be read`);
}
