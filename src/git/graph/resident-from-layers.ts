import type { HashAlgorithm } from '../hash.js';
import { BadCommitGraph, type GraphLayer, inEdges, noParent } from './graph-layers.js';
import type { ResidentGraph } from './resident-graph.js';
import { sortByDate } from './sort-by-date.js';
import { sortIds } from './sort-ids.js';

/**
 * The resident form of a commit-graph as it is, straight from the bytes of its files. Undefined if they have no corrected
 * commit dates (generation data v2), which then have to be computed from the table.
 * @throws BadCommitGraph if the commits do not fit together
 */
export function residentFromLayers(layers: readonly GraphLayer[], hash: HashAlgorithm): ResidentGraph | undefined {
  const width = hash.bytes;
  const count = layers.reduce((sum, layer) => sum + layer.count, 0);
  const dates = new Float64Array(count);
  const unsorted = Buffer.allocUnsafeSlow(count * width);
  let row = 0;
  for (const layer of layers) {
    if (!layer.offsets) return undefined;
    layer.bytes.copy(unsorted, row * width, layer.ids.start, layer.ids.start + layer.count * width);
    row = readDates(layer, width, dates, row);
  }
  const order = sortByDate(dates);
  const numberOf = new Uint32Array(count);
  for (let number = 0; number < count; number++) numberOf[order[number] ?? 0] = number;

  const sorted = layers.length === 1 ? undefined : sortIds(unsorted, count, width);
  const ids = sorted ? Buffer.allocUnsafeSlow(count * width) : unsorted;
  const fanout = new Uint32Array(65_537);
  const numberAt = new Uint32Array(count);
  const placeOf = new Uint32Array(count);
  for (let place = 0; place < count; place++) {
    const from = sorted ? (sorted[place] ?? 0) : place;
    if (sorted) unsorted.copy(ids, place * width, from * width, (from + 1) * width);
    const next = (((ids[place * width] ?? 0) << 8) | (ids[place * width + 1] ?? 0)) + 1;
    fanout[next] = (fanout[next] ?? 0) + 1;
    const number = numberOf[from] ?? 0;
    numberAt[place] = number;
    placeOf[number] = place;
  }
  for (let i = 0; i < 65_536; i++) fanout[i + 1] = (fanout[i + 1] ?? 0) + (fanout[i] ?? 0);

  const firstParent = new Int32Array(count).fill(-1);
  const secondParent = new Int32Array(count).fill(-1);
  const more: number[] = [];
  row = 0;
  for (const layer of layers) row = readParents(layer, width, numberOf, { firstParent, secondParent, more }, row);
  const moreParents = Int32Array.from(more);
  return { count, idBytes: width, ids, fanout, numberAt, placeOf, firstParent, secondParent, moreParents };
}

function readDates(layer: GraphLayer, width: number, dates: Float64Array, firstRow: number): number {
  const { bytes, data, offsets, largeOffsets, count, path } = layer;
  for (let i = 0; i < count; i++) {
    const at = data.start + i * (width + 16) + width + 8;
    let offset = offsets ? bytes.readUInt32BE(offsets.start + i * 4) : 0;
    if (offset >= inEdges) {
      const place = (offset - inEdges) * 8;
      if (!largeOffsets || place + 8 > largeOffsets.length)
        throw new BadCommitGraph(`${path}: a date is outside of its chunk`);
      offset = Number(bytes.readBigUInt64BE(largeOffsets.start + place));
    }
    dates[firstRow + i] = (bytes.readUInt32BE(at) % 4) * 2 ** 32 + bytes.readUInt32BE(at + 4) + offset;
  }
  return firstRow + count;
}

type Parents = { readonly firstParent: Int32Array; readonly secondParent: Int32Array; readonly more: number[] };

function readParents(
  { bytes, data, edges, count, path }: GraphLayer,
  width: number,
  numberOf: Uint32Array,
  { firstParent, secondParent, more }: Parents,
  firstRow: number,
): number {
  const parentNumber = (position: number, child: number): number => {
    const number = numberOf[position];
    if (number === undefined) throw new BadCommitGraph(`${path}: it has no commit number ${position}`);
    if (number >= child) throw new BadCommitGraph(`${path}: a commit is dated before its parent`);
    return number;
  };
  for (let i = 0; i < count; i++) {
    const at = data.start + i * (width + 16) + width;
    const first = bytes.readUInt32BE(at);
    if (first === noParent) continue;
    const number = numberOf[firstRow + i] ?? 0;
    firstParent[number] = parentNumber(first, number);
    const second = bytes.readUInt32BE(at + 4);
    if (second === noParent) continue;
    if (second < inEdges) {
      secondParent[number] = parentNumber(second, number);
      continue;
    }
    secondParent[number] = -2 - more.length;
    for (let edge = second - inEdges; ; edge++) {
      if (!edges || (edge + 1) * 4 > edges.length) {
        throw new BadCommitGraph(`${path}: a list of parents is outside of its chunk`);
      }
      const entry = bytes.readUInt32BE(edges.start + edge * 4);
      const parent = parentNumber(entry % inEdges, number);
      more.push(entry >= inEdges ? -1 - parent : parent);
      if (entry >= inEdges) break;
    }
  }
  return firstRow + count;
}
