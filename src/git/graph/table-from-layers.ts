import type { HashAlgorithm } from '../hash.js';
import { addRow, type CommitTable, createCommitTable, setParents } from './commit-table.js';
import { BadCommitGraph, type GraphLayer, inEdges, noParent } from './graph-layers.js';

/**
 * The commits of a commit-graph as a table that can grow.
 * @throws BadCommitGraph if the commits do not fit together
 */
export function tableFromLayers(layers: readonly GraphLayer[], hash: HashAlgorithm): CommitTable {
  const total = layers.reduce((sum, { count }) => sum + count, 0);
  const table = createCommitTable(hash, total);
  for (const layer of layers) {
    for (let i = 0; i < layer.count; i++) addRow(table, layer.bytes, layer.ids.start + i * hash.bytes);
  }
  if (table.count !== total) throw new BadCommitGraph(`${layers[0]?.path} has a commit twice`);
  let row = 0;
  for (const layer of layers) row = readCommits(table, layer, row);
  return table;
}

/** Reads the commits of a layer into the rows from `firstRow` on, and gives the row after them. */
function readCommits(table: CommitTable, layer: GraphLayer, firstRow: number): number {
  const { bytes, data, edges, count, path } = layer;
  const width = table.hash.bytes;
  const fail = (what: string) => new BadCommitGraph(`${path}: ${what}`);
  const parentRow = (position: number) => {
    if (position >= table.count) throw fail(`it has no commit number ${position}`);
    return position;
  };
  for (let i = 0; i < count; i++) {
    const row = firstRow + i;
    const at = data.start + i * (width + 16);
    bytes.copy(table.trees, row * width, at, at + width);
    const first = bytes.readUInt32BE(at + width);
    const second = bytes.readUInt32BE(at + width + 4);
    const word = bytes.readUInt32BE(at + width + 8);
    table.dates[row] = (word % 4) * 2 ** 32 + bytes.readUInt32BE(at + width + 12);
    if (first === noParent) continue;
    table.firstParent[row] = parentRow(first);
    if (second === noParent) continue;
    if (second < inEdges) {
      table.secondParent[row] = parentRow(second);
      continue;
    }
    const parents = [first];
    for (let edge = second - inEdges; ; edge++) {
      if (!edges || (edge + 1) * 4 > edges.length) throw fail('a list of parents is outside of its chunk');
      const parent = bytes.readUInt32BE(edges.start + edge * 4);
      parents.push(parentRow(parent % inEdges));
      if (parent >= inEdges) break;
    }
    setParents(table, row, parents);
  }
  return firstRow + count;
}
