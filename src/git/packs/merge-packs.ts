import { closeSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { syncDirectory } from '../../files/durable-file.js';
import { sortIds } from '../graph/sort-ids.js';
import type { HashAlgorithm } from '../hash.js';
import { idDelta, offsetDelta, packHeaderBytes } from '../objects/pack-entry.js';
import { openPackIndex } from '../objects/pack-index.js';
import { createPageCache } from '../objects/paged-file.js';
import { entryHeader } from './entry-header.js';
import { finishPack, write } from './index-pack.js';
import { wholeEnding } from './known-objects.js';
import { packFile } from './pack-file.js';
import { packLimits } from './pack-limits.js';
import { none, PackTable } from './pack-table.js';
import { entryAt } from './scan-pack.js';
import { packStem, writePack } from './write-pack.js';

/** More packs than that are put together, the small ones; so many stay. */
export const packCounts = { most: 50, stay: 10 } as const;

const pieceBytes = 1024 * 1024;
const indexPages = 8 * 1024 * 1024;

/**
 * Puts the small packs of a directory, of those that were found whole, into one, if there are many. Objects are copied as they stand
 * there, each once; nothing is inflated. What was put together is removed once the one is there. Gives the number of packs that were.
 * @throws Error if one is damaged; as `replaceDurably`
 */
export async function mergePacks(
  directory: string,
  hash: HashAlgorithm,
  counts: { most: number; stay: number } = packCounts,
): Promise<number> {
  const stems = wholePacks(directory);
  if (stems.length <= counts.most) return 0;
  const files = stems.map((stem) => ({ stem, ...sizeAndAge(join(directory, `${stem}.pack`)) }));
  const bySize = files.sort((a, b) => a.size - b.size || (a.stem < b.stem ? -1 : 1));
  // The newest first: it has the bases of its deltas whole, so that chains do not grow from pack to pack.
  const small = bySize
    .slice(0, bySize.length - counts.stay)
    .sort((a, b) => b.changed - a.changed)
    .map(({ stem }) => stem);
  const merged = await writeMerged(directory, small, hash);
  for (const stem of small) {
    if (stem === merged) continue;
    // What has no index is not looked for; without its mark it would be a leftover.
    for (const ending of ['.idx', wholeEnding, '.pack']) rmSync(join(directory, stem + ending), { force: true });
  }
  syncDirectory(directory);
  return small.length;
}

/** The names, without an ending, of the packs of a directory that were found whole. */
export function wholePacks(directory: string): string[] {
  const names = new Set(readdirSync(directory));
  return [...names]
    .filter((name) => name.endsWith(wholeEnding))
    .map((name) => name.slice(0, -wholeEnding.length))
    .filter((stem) => names.has(`${stem}.idx`) && names.has(`${stem}.pack`));
}

function sizeAndAge(path: string): { size: number; changed: number } {
  const { size, mtimeMs } = statSync(path);
  return { size, changed: mtimeMs };
}

async function writeMerged(directory: string, stems: readonly string[], hash: HashAlgorithm): Promise<string> {
  const { checksum } = await writePack(directory, '2', hash, async ({ file }) => {
    const table = new PackTable(hash.bytes);
    const known = new Map<string, number>();
    let end = packHeaderBytes;
    write(file, Buffer.from('PACK\0\0\0\u0002\0\0\0\0', 'latin1'), 0);
    for (const stem of stems) end = copyPack(join(directory, stem), file, end, table, known, hash);
    if (longestChain(table, known) > packLimits.depth)
      throw new Error(`packs are left as they are: together they have a chain of more than ${packLimits.depth} deltas`);
    return { table, sorted: sortIds(table.ids, table.count, hash.bytes), checksum: finishPack(file, end, table, hash) };
  });
  return packStem(checksum);
}

/** Appends what a pack has and was not there yet. Gives where that ends. */
function copyPack(
  path: string,
  out: number,
  from: number,
  table: PackTable,
  known: Map<string, number>,
  hash: HashAlgorithm,
): number {
  const damaged = (what: string) => new Error(`its mirror is damaged: pack index: ${what}`);
  const index = openPackIndex(`${path}.idx`, hash, createPageCache(indexPages), damaged);
  const file = openSync(`${path}.pack`, 'r');
  try {
    const size = statSync(`${path}.pack`).size - hash.bytes;
    const pack = packFile(file, size);
    const { count } = index.ids;
    const places = Uint32Array.from({ length: count }, (_, place) => place);
    const offsets = Float64Array.from(places, (place) => index.offset(place));
    places.sort((a, b) => (offsets[a] as number) - (offsets[b] as number));
    const rowAt = new Map<number, number>();
    let end = from;
    for (const [i, place] of places.entries()) {
      const offset = offsets[place] as number;
      const after = i + 1 < count ? (offsets[places[i + 1] as number] as number) : size;
      const id = Buffer.from(index.ids.at(place));
      const before = known.get(id.toString('latin1'));
      if (before !== undefined) {
        rowAt.set(offset, before);
        continue;
      }
      const { kind, size: inflated, head, base } = entryAt(pack, offset, hash.bytes);
      const baseRow = typeof base === 'number' ? (rowAt.get(base) ?? none) : none;
      if (kind === offsetDelta && baseRow === none) throw damaged(`there is no base of ${id.toString('hex')}`);
      const back = kind === offsetDelta ? end - (table.offset[baseRow] as number) : base && Buffer.from(base as Buffer);
      const header = entryHeader(kind, inflated, back);
      const row = table.add(end, kind, inflated, header.length);
      table.ids.set(id, row * hash.bytes);
      known.set(id.toString('latin1'), row);
      table.base[row] = baseRow;
      if (kind === idDelta) table.addBaseId(base as Buffer, row);
      rowAt.set(offset, row);
      write(out, header, end);
      end += header.length;
      let sum = crc32(header);
      for (let at = offset + head; at < after; at += pieceBytes) {
        const piece = pack.read(at, Math.min(pieceBytes, after - at));
        sum = crc32(piece, sum);
        write(out, piece, end);
        end += piece.length;
      }
      table.crc[row] = sum;
    }
    return end;
  } finally {
    closeSync(file);
    index.close();
  }
}

/** The most deltas from an object to a whole one. */
function longestChain(table: PackTable, known: ReadonlyMap<string, number>): number {
  for (let i = 0; i < table.baseCount; i++) {
    const id = table.baseIds.toString('latin1', i * table.idBytes, (i + 1) * table.idBytes);
    table.base[table.baseRows[i] as number] = known.get(id) ?? none;
  }
  let longest = 0;
  for (let row = 0; row < table.count; row++) {
    const way: number[] = [];
    let at = row;
    // The depth of a delta is never 0 once it is known.
    while (table.base[at] !== none && table.depth[at] === 0 && way.length <= packLimits.depth) {
      way.push(at);
      at = table.base[at] as number;
    }
    let depth = table.depth[at] as number;
    if (way.length > packLimits.depth) return way.length;
    for (const delta of way.reverse()) table.depth[delta] = ++depth;
    longest = Math.max(longest, depth);
  }
  return longest;
}
