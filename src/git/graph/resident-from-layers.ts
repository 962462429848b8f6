import type { HashAlgorithm } from '../hash.js';
import { BadCommitGraph, type GraphLayer, inEdges, noParent } from './graph-layers.js';
import {
  fanoutOf,
  type Places,
  placesById,
  type ResidentGraph,
  sharedBytes,
  sharedInt32,
  sharedUint32,
} from './resident-graph.js';
import { sortByDate } from './sort-by-date.js';

/**
 * The resident form of a commit-graph as it is, straight from the bytes of its files. Undefined if they have no corrected
 * commit dates (generation data v2), which then have to be computed from the table.
 * @throws BadCommitGraph if the commits do not fit together
 */
export function residentFromLayers(layers: readonly GraphLayer[], hash: HashAlgorithm): ResidentGraph | undefined {
  const width = hash.bytes;
  const count = layers.reduce((sum, layer) => sum + layer.count, 0);
  const dates = new Float64Array(count);
  let row = 0;
  for (const layer of layers) {
    if (!layer.offsets) return undefined;
    row = readDates(layer, width, dates, row);
  }
  const order = sortByDate(dates);
  const numberOf = sharedUint32(count);
  for (let number = 0; number < count; number++) numberOf[order[number] ?? 0] = number;

  const firstParent = sharedInt32(count).fill(-1);
  const secondParent = sharedInt32(count).fill(-1);
  const more: number[] = [];
  row = 0;
  for (const layer of layers) row = readParents(layer, width, numberOf, { firstParent, secondParent, more }, row);
  const moreParents = sharedInt32(more.length);
  moreParents.set(more);
  const places =
    layers.length === 1
      ? placesOfOne(layers, width, order, numberOf)
      : placesById(idsOf(layers, width, count), width, numberOf);
  return {
    count,
    idBytes: width,
    ...places,
    fanout: fanoutOf(places.ids, width),
    firstParent,
    secondParent,
    moreParents,
  };
}

/** One file has its ids in order already, so that its rows are the places. */
function placesOfOne(layers: readonly GraphLayer[], width: number, order: Uint32Array, numberOf: Uint32Array): Places {
  const placeOf = sharedUint32(order.length);
  placeOf.set(order);
  return { ids: idsOf(layers, width, order.length), numberAt: numberOf, placeOf };
}

function idsOf(layers: readonly GraphLayer[], width: number, count: number): Buffer {
  const all = sharedBytes(count * width);
  let at = 0;
  for (const { bytes, ids, count } of layers) at += bytes.copy(all, at, ids.start, ids.start + count * width);
  return all;
}

function readDates(layer: GraphLayer, width: number, dates: Float64Array, firstRow: number): number {
  const { bytes, data, offsets, largeOffsets, count, path } = layer;
  const view = viewOf(bytes);
  for (let i = 0; i < count; i++) {
    const at = data.start + i * (width + 16) + width + 8;
    let offset = offsets ? view.getUint32(offsets.start + i * 4) : 0;
    if (offset >= inEdges) {
      const place = (offset - inEdges) * 8;
      if (!largeOffsets || place + 8 > largeOffsets.length)
        throw new BadCommitGraph(`${path}: a date is outside of its chunk`);
      offset = Number(view.getBigUint64(largeOffsets.start + place));
    }
    dates[firstRow + i] = (view.getUint32(at) & 3) * 2 ** 32 + view.getUint32(at + 4) + offset;
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
  const view = viewOf(bytes);
  const parentNumber = (position: number, child: number): number => {
    const number = numberOf[position];
    if (number === undefined) throw new BadCommitGraph(`${path}: it has no commit number ${position}`);
    if (number >= child) throw new BadCommitGraph(`${path}: a commit is dated before its parent`);
    return number;
  };
  for (let i = 0; i < count; i++) {
    const at = data.start + i * (width + 16) + width;
    const first = view.getUint32(at);
    if (first === noParent) continue;
    const number = numberOf[firstRow + i] ?? 0;
    firstParent[number] = parentNumber(first, number);
    const second = view.getUint32(at + 4);
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
      const entry = view.getUint32(edges.start + edge * 4);
      const parent = parentNumber(entry % inEdges, number);
      more.push(entry >= inEdges ? -1 - parent : parent);
      if (entry >= inEdges) break;
    }
  }
  return firstRow + count;
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
