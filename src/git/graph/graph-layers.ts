import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { HashAlgorithm } from '../hash.js';
import { type Chunk, readChunkTable } from '../objects/chunks.js';
import { errno } from '../problem.js';
import { checksum } from './checksum.js';

/** A commit-graph file that says something wrong; the message names it. */
export class BadCommitGraph extends Error {}

/** What a file has in place of the number of a parent, if there is none. */
export const noParent = 0x70000000;

/** From here on, what a file has in place of a second parent is where the list of parents begins. */
export const inEdges = 0x80000000;

/** One file of a commit-graph. */
export type GraphLayer = {
  readonly path: string;
  readonly bytes: Buffer;
  readonly count: number;
  readonly bases: number;
  readonly ids: Chunk;
  readonly data: Chunk;
  readonly edges: Chunk | undefined;
  /** Corrected commit dates less the dates, and those that are too large for that. */
  readonly offsets: Chunk | undefined;
  readonly largeOffsets: Chunk | undefined;
  /** Whether the checksum is right. Nothing may be told of the layer before that is known. */
  readonly intact: Promise<boolean>;
};

/**
 * The files of git's commit-graph (gitformat-commit-graph(5), version 1) of an object directory, in order: one file, or a split
 * chain. Their sizes were checked; their checksums are being computed meanwhile. Undefined if there is none.
 * @throws BadCommitGraph if one is truncated or of another version or object format
 */
export function readGraphLayers(objectDir: string, hash: HashAlgorithm): GraphLayer[] | undefined {
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

function parseLayer(path: string, bytes: Buffer, hash: HashAlgorithm): GraphLayer {
  const fail = (what: string) => new BadCommitGraph(`${path}: ${what}`);
  const end = bytes.length - hash.bytes;
  if (end < 8 || bytes.toString('latin1', 0, 4) !== 'CGPH') throw fail('it is not a commit-graph');
  if (bytes[4] !== 1) throw fail(`it has version ${bytes[4]}`);
  if (bytes[5] !== (hash.name === 'sha1' ? 1 : 2)) throw fail('it is of another object format');
  const file = { size: end, read: (at: number, length: number) => bytes.subarray(at, Math.min(at + length, end)) };
  const chunks = readChunkTable(file, 8, bytes[6] ?? 0, fail);
  const [fanout, ids, data] = ['OIDF', 'OIDL', 'CDAT'].map((name) => chunks.get(name));
  if (!fanout || !ids || !data || fanout.length < 1024) throw fail('a chunk is missing');
  const count = bytes.readUInt32BE(fanout.start + 1020);
  const offsets = chunks.get('GDA2');
  if (
    ids.length < count * hash.bytes ||
    data.length < count * (hash.bytes + 16) ||
    (offsets && offsets.length < count * 4)
  )
    throw fail('a chunk is too short');
  return {
    path,
    bytes,
    count,
    bases: bytes[7] ?? 0,
    ids,
    data,
    edges: chunks.get('EDGE'),
    offsets,
    largeOffsets: chunks.get('GDO2'),
    intact: isIntact(bytes, end, hash),
  };
}

async function isIntact(bytes: Buffer, end: number, { name }: HashAlgorithm): Promise<boolean> {
  const said = bytes.toString('hex', end);
  return (
    (await checksum({ bytes: bytes.buffer as unknown as SharedArrayBuffer, length: end, algorithm: name })) === said
  );
}

/**
 * Waits until the checksums of all layers are known.
 * @throws BadCommitGraph if one of them is wrong
 */
export async function checkIntact(layers: readonly GraphLayer[]): Promise<void> {
  for (const { path, intact } of layers)
    if (!(await intact)) throw new BadCommitGraph(`${path}: its checksum is wrong`);
}

/** The row of the commit with a raw id, counted through all layers as parents are named, or -1. */
export function rowInLayers(layers: readonly GraphLayer[], { bytes: width }: HashAlgorithm, id: Buffer): number {
  let firstRow = 0;
  for (const { bytes, count, ids } of layers) {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = ids.start + middle * width;
      const order = id.compare(bytes, at, at + width);
      if (order === 0) return firstRow + middle;
      if (order > 0) low = middle + 1;
      else high = middle;
    }
    firstRow += count;
  }
  return -1;
}

/** A file's content in shared memory. */
function readWhole(path: string): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.from(new SharedArrayBuffer(fstatSync(file).size));
    let at = 0;
    for (let got = -1; got !== 0 && at < bytes.length; at += got)
      got = readSync(file, bytes, at, bytes.length - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(file);
  }
}
