import TinyQueue from 'tinyqueue';
import type { HashAlgorithm } from '../../hash.js';
import { BadCommitGraph, type GraphLayer, inEdges, noParent, rowInLayers } from '../graph-layers.js';
import { sharedBytes, sharedUint32 } from '../resident-graph.js';
import { sortIds } from '../sort-ids.js';

/** The commits of a range by their ids, in memory that threads share. */
export type RangeFound = {
  readonly size: number;
  /** Raw ids, in the order of the numbers that a resident graph gives, the highest first. */
  readonly ids: Buffer;
  /** Places in `ids`, in ascending order of the ids. */
  readonly byId: Uint32Array;
};

/** Where so many generations lie between the ends, a thread of its own has loaded the whole history sooner. */
const longRange = 150_000;

const fromTip = 1;
const fromBase = 2;

/** A row of all files together, its corrected commit date in seconds, and what the file has of its first two parents. */
type Dated = { readonly row: number; readonly date: number; readonly first: number; readonly second: number };

/**
 * The commits of `base..tip` straight from the files of a commit-graph, of which hardly more is looked at than the range: `computeRange` where
 * nothing is loaded, with a queue by corrected commit date (git's `paint_down_to_common`) in the place of its numbers. Undefined if the files do
 * not have both commits, or no corrected dates; 'long' if the range is too long for this. Nothing of it may be told before their checksums are
 * known to be right.
 * @throws BadCommitGraph if the commits do not fit together
 */
export function* rangeInLayers(
  layers: readonly GraphLayer[],
  hash: HashAlgorithm,
  tip: string,
  base: string,
): Generator<undefined, RangeFound | 'long' | undefined> {
  if (layers.some(({ offsets }) => !offsets)) return undefined;
  const [tipRow, baseRow] = [tip, base].map((id) => rowInLayers(layers, hash, Buffer.from(id, 'hex'))) as [
    number,
    number,
  ];
  if (tipRow < 0 || baseRow < 0) return undefined;
  const width = hash.bytes;
  const files = openRows(layers, width);
  if (files.generation(tipRow) - files.generation(baseRow) > longRange) return 'long';

  const paint = new Uint8Array(files.count);
  const queue = new TinyQueue<Dated>([], later);
  const found: number[] = [];
  let open = 0;
  let colour = fromTip;
  let child: Dated | undefined;
  const visit = (row: number) => {
    const before = paint[row] ?? 0;
    const after = before | colour;
    if (after === before) return;
    paint[row] = after;
    if (after === fromTip) open++;
    else if (before === fromTip) open--;
    if (before !== 0) return;
    const dated = files.read(row);
    if (child && later(child, dated) > 0) throw files.fail(row, 'a commit is dated before its parent');
    queue.push(dated);
  };
  visit(tipRow);
  colour = fromBase;
  visit(baseRow);
  for (child = queue.pop(); child && open > 0; child = queue.pop()) {
    colour = paint[child.row] ?? 0;
    if (colour === fromTip) {
      open--;
      found.push(child.row);
    }
    files.eachParent(child, visit);
    yield;
  }
  const size = found.length;
  const ids = sharedBytes(size * width);
  for (const [place, row] of found.entries()) files.copyId(row, ids, place * width);
  const byId = sharedUint32(size);
  byId.set(sortIds(ids, size, width));
  return { size, ids, byId };
}

/** Later ones come first; of the same date that of the higher row, as the numbers of a resident graph have it. */
function later(a: Dated, b: Dated): number {
  return b.date - a.date || b.row - a.row;
}

/** The rows of several files, counted through all of them, as parents are named. */
function openRows(layers: readonly GraphLayer[], width: number) {
  const views = layers.map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const firstRows: number[] = [];
  let count = 0;
  for (const layer of layers) {
    firstRows.push(count);
    count += layer.count;
  }

  function fileOf(row: number): number {
    let file = layers.length - 1;
    while (row < (firstRows[file] ?? 0)) file--;
    return file;
  }

  function fail(row: number, what: string): BadCommitGraph {
    return new BadCommitGraph(`${layers[fileOf(row)]?.path}: ${what}`);
  }

  /** The file of a row, what reads it, the row within it, and where its commit data begins after the tree. */
  function at(row: number) {
    const file = fileOf(row);
    const layer = layers[file] as GraphLayer;
    const within = row - (firstRows[file] ?? 0);
    return { layer, view: views[file] as DataView, within, data: layer.data.start + within * (width + 16) + width };
  }

  return {
    count,
    fail,

    read(row: number): Dated {
      const { layer, view, within, data } = at(row);
      const { offsets, largeOffsets, seek } = layer;
      let offset = offsets ? view.getUint32(seek(offsets.start + within * 4, 4)) : 0;
      if (offset >= inEdges) {
        const place = (offset - inEdges) * 8;
        if (!largeOffsets || place + 8 > largeOffsets.length) throw fail(row, 'a date is outside of its chunk');
        offset = Number(view.getBigUint64(seek(largeOffsets.start + place, 8)));
      }
      const commit = seek(data, 16);
      const date = (view.getUint32(commit + 8) & 3) * 2 ** 32 + view.getUint32(commit + 12) + offset;
      return { row, date, first: view.getUint32(commit), second: view.getUint32(commit + 4) };
    },

    /** The length of the longest way to a commit without parents, in commits. */
    generation(row: number): number {
      const { layer, view, data } = at(row);
      return view.getUint32(layer.seek(data, 16) + 8) >>> 2;
    },

    eachParent({ row, first, second }: Dated, visit: (parent: number) => void): void {
      const { layer, view } = at(row);
      const { edges } = layer;
      const give = (parent: number) => {
        if (parent >= count) throw fail(row, `it has no commit number ${parent}`);
        visit(parent);
      };
      if (first === noParent) return;
      give(first);
      if (second === noParent) return;
      if (second < inEdges) {
        give(second);
        return;
      }
      for (let edge = second - inEdges; ; edge++) {
        if (!edges || (edge + 1) * 4 > edges.length) throw fail(row, 'a list of parents is outside of its chunk');
        const entry = view.getUint32(layer.seek(edges.start + edge * 4, 4));
        give(entry % inEdges);
        if (entry >= inEdges) return;
      }
    },

    copyId(row: number, to: Buffer, place: number): void {
      const { layer, within } = at(row);
      const start = layer.seek(layer.ids.start + within * width, width);
      // Byte by byte, since a call of copy checks more than it copies.
      for (let i = 0; i < width; i++) to[place + i] = layer.bytes[start + i] ?? 0;
    },
  };
}
