import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { sortIds } from '../graph/sort-ids.js';
import type { HashAlgorithm } from '../hash.js';
import { kinds, packHeaderBytes } from '../objects/pack-entry.js';
import type { PackIndex } from '../objects/pack-index.js';
import { entryHeader } from '../packs/entry-header.js';
import { finishPack, write } from '../packs/index-pack.js';
import type { KnownObjects } from '../packs/known-objects.js';
import { packFile } from '../packs/pack-file.js';
import { none, PackTable } from '../packs/pack-table.js';
import { entryAt } from '../packs/scan-pack.js';
import { packStem, writePack } from '../packs/write-pack.js';

const pieceBytes = 1024 * 1024;

/**
 * Writes a pack anew with the objects of it that are marked. They are copied as they stand there, but for deltas of what is not marked: these become whole.
 * @param index - of the pack, open
 * @param marks - 1 for what stays, in the order of the index
 * @param known - gives objects, those of the pack among them
 * @returns the name of the new pack without an ending; undefined if nothing stays, of which no pack is written
 * @throws Error if the pack is damaged; as `replaceDurably`
 */
export async function rewritePack(
  directory: string,
  stem: string,
  index: PackIndex,
  marks: Uint8Array,
  known: Pick<KnownObjects, 'read'>,
  hash: HashAlgorithm,
): Promise<string | undefined> {
  const damaged = (what: string) => new Error(`its mirror is damaged: pack ${stem}: ${what}`);
  const { count } = index.ids;
  const places = Uint32Array.from({ length: count }, (_, place) => place);
  const offsets = Float64Array.from(places, (place) => index.offset(place));
  // From here on a position is a number in the order of the pack, a place one in that of the index.
  places.sort((a, b) => (offsets[a] as number) - (offsets[b] as number));
  const starts = Float64Array.from(places, (place) => offsets[place] as number);
  const rows = new Int32Array(count).fill(none);
  const from = openSync(join(directory, `${stem}.pack`), 'r');
  try {
    const size = fstatSync(from).size - hash.bytes;
    const pack = packFile(from, size);
    const { checksum, table } = await writePack(directory, '3', hash, async ({ file: out }) => {
      const table = new PackTable(hash.bytes);
      let end = packHeaderBytes;
      write(out, Buffer.from('PACK\0\0\0\u0002\0\0\0\0', 'latin1'), 0);
      for (let position = 0; position < count; position++) {
        if (marks[places[position] as number]) end = copy(table, out, position, end);
      }
      const sorted = sortIds(table.ids, table.count, hash.bytes);
      return { table, sorted, checksum: finishPack(out, end, table, hash) };
    });
    return table.count === 0 ? undefined : packStem(checksum);

    function copy(table: PackTable, out: number, position: number, to: number): number {
      const id = Buffer.from(index.ids.at(places[position] as number));
      const start = starts[position] as number;
      const after = position + 1 < count ? (starts[position + 1] as number) : size;
      const { kind, size: inflated, head, base } = entryAt(pack, start, hash.bytes);
      let header: Buffer;
      let own: { kind: number; size: number };
      let whole: Buffer | undefined;
      if (typeof base === 'number' ? rowOf(base) === none : base && marks[index.ids.find(Buffer.from(base))] !== 1) {
        const object = known.read(id);
        if (!object) throw damaged(`object ${id.toString('hex')} is missing`);
        own = { kind: kinds.indexOf(object.type), size: object.data.length };
        whole = deflateSync(object.data);
        header = entryHeader(own.kind, own.size);
      } else {
        own = { kind, size: inflated };
        const back = typeof base === 'number' ? to - (table.offset[rowOf(base)] as number) : base && Buffer.from(base);
        header = entryHeader(kind, inflated, back);
      }
      const row = table.add(to, own.kind, own.size, header.length);
      rows[position] = row;
      table.ids.set(id, row * hash.bytes);
      write(out, header, to);
      let end = to + header.length;
      let sum = crc32(header);
      const take = (piece: Buffer) => {
        sum = crc32(piece, sum);
        write(out, piece, end);
        end += piece.length;
      };
      if (whole) take(whole);
      else
        for (let at = start + head; at < after; ) {
          const piece = pack.read(at, Math.min(pieceBytes, after - at));
          if (piece.length === 0) throw damaged('it ends too early');
          take(piece);
          at += piece.length;
        }
      table.crc[row] = sum;
      return end;
    }

    /** The new row of what begins at an offset of the old pack. @throws Error if nothing does */
    function rowOf(offset: number): number {
      let [low, high] = [0, count];
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((starts[middle] as number) < offset) low = middle + 1;
        else high = middle;
      }
      if (starts[low] !== offset) throw damaged(`there is no object at ${offset}`);
      return rows[low] as number;
    }
  } finally {
    closeSync(from);
  }
}
