import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HashAlgorithm } from '../hash.js';
import { type Chunk, readChunkTable } from '../objects/chunks.js';
import { errno } from '../problem.js';
import { addRow, type CommitTable, createCommitTable, findRow, setParents } from './commit-table.js';

/** A commit-graph file that says something wrong; the message names it. */
export class BadCommitGraph extends Error {}

const noParent = 0x70000000;
const inEdges = 0x80000000;

/**
 * The commits of git's commit-graph (gitformat-commit-graph(5), version 1) of an object directory: one file, or a split chain.
 * Undefined if there is none.
 * @throws BadCommitGraph if one is truncated, corrupt, or of another version or object format
 */
export function readCommitGraph(objectDir: string, hash: HashAlgorithm): CommitTable | undefined {
  const layers = layersOf(objectDir, hash);
  if (!layers) return undefined;
  const total = layers.reduce((sum, { count }) => sum + count, 0);
  const table = createCommitTable(hash, total);
  for (const layer of layers)
    for (let i = 0; i < layer.count; i++) addRow(table, layer.bytes, layer.ids.start + i * hash.bytes);
  if (table.count !== total) throw new BadCommitGraph(`${layers[0]?.path} has a commit twice`);
  let row = 0;
  for (const layer of layers) row = readCommits(table, layer, row);
  return table;
}

type Layer = {
  readonly path: string;
  readonly bytes: Buffer;
  readonly count: number;
  readonly bases: number;
  readonly ids: Chunk;
  readonly data: Chunk;
  readonly edges: Chunk | undefined;
};

function layersOf(objectDir: string, hash: HashAlgorithm): Layer[] | undefined {
  const info = join(objectDir, 'info');
  const single = readWhole(join(info, 'commit-graph'));
  if (single) return [parseLayer(join(info, 'commit-graph'), single, hash)];
  const chainPath = join(info, 'commit-graphs', 'commit-graph-chain');
  const chain = readWhole(chainPath);
  if (!chain) return undefined;
  const names = chain.toString('latin1').split('\n').filter(Boolean);
  return names.map((name, i) => {
    if (name.length !== hash.hex || !/^[0-9a-f]+$/.test(name)) throw new BadCommitGraph(`${chainPath} is malformed`);
    const path = join(info, 'commit-graphs', `graph-${name}.graph`);
    const bytes = readWhole(path);
    if (!bytes) throw new BadCommitGraph(`${path} is missing`);
    const layer = parseLayer(path, bytes, hash);
    if (layer.bases !== i) throw new BadCommitGraph(`${path} builds on ${layer.bases} files, not on ${i}`);
    if (bytes.toString('hex', bytes.length - hash.bytes) !== name)
      throw new BadCommitGraph(`${path} has another checksum`);
    return layer;
  });
}

function parseLayer(path: string, bytes: Buffer, hash: HashAlgorithm): Layer {
  const fail = (what: string) => new BadCommitGraph(`${path}: ${what}`);
  const end = bytes.length - hash.bytes;
  if (end < 8 || bytes.toString('latin1', 0, 4) !== 'CGPH') throw fail('it is not a commit-graph');
  if (bytes[4] !== 1) throw fail(`it has version ${bytes[4]}`);
  if (bytes[5] !== (hash.name === 'sha1' ? 1 : 2)) throw fail('it is of another object format');
  const sum = createHash(hash.name).update(bytes.subarray(0, end)).digest();
  if (!sum.equals(bytes.subarray(end))) throw fail('its checksum is wrong');
  const file = { size: end, read: (at: number, length: number) => bytes.subarray(at, Math.min(at + length, end)) };
  const chunks = readChunkTable(file, 8, bytes[6] ?? 0, fail);
  const [fanout, ids, data] = ['OIDF', 'OIDL', 'CDAT'].map((name) => chunks.get(name));
  if (!fanout || !ids || !data || fanout.length < 1024) throw fail('a chunk is missing');
  const count = bytes.readUInt32BE(fanout.start + 1020);
  if (ids.length < count * hash.bytes || data.length < count * (hash.bytes + 16)) throw fail('a chunk is too short');
  return { path, bytes, count, bases: bytes[7] ?? 0, ids, data, edges: chunks.get('EDGE') };
}

/** Reads the commits of a layer into the rows from `firstRow` on, and gives the row after them. */
function readCommits(table: CommitTable, layer: Layer, firstRow: number): number {
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

/** Row of a commit by its hexadecimal id, or -1. */
export function rowOf(table: CommitTable, id: string): number {
  return findRow(table, Buffer.from(id, 'hex'));
}

function readWhole(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
