import { type BigIntStats, closeSync, fstatSync, openSync, readSync } from 'node:fs';
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
  /** The file's content. Of a file that is read as it is needed only `seek` tells where in it something is. */
  readonly bytes: Buffer;
  /** Bytes of the file. */
  readonly size: number;
  /** Gives where in `bytes` a few bytes of the file are, until the next call. */
  readonly seek: (start: number, length: number) => number;
  /** Which file it is, unless it is so new that it could change without a trace. */
  readonly identity: string | undefined;
  readonly count: number;
  readonly bases: number;
  readonly ids: Chunk;
  readonly data: Chunk;
  readonly edges: Chunk | undefined;
  /** Corrected commit dates less the dates, and those that are too large for that. */
  readonly offsets: Chunk | undefined;
  readonly largeOffsets: Chunk | undefined;
  /** Whether the checksum is right; undefined of a file that is read as it is needed. Nothing may be told of the layer before that is known. */
  readonly intact: Promise<boolean> | undefined;
  /** Reads from a position of a file that is read as it is needed. Gives how many bytes there were. */
  readonly readInto: ((bytes: Buffer, position: number) => number) | undefined;
};

/**
 * The files of git's commit-graph (gitformat-commit-graph(5), version 1) of an object directory, in order: one file, or a split
 * chain. Their sizes were checked; their checksums are being computed meanwhile. Undefined if there is none.
 * @param asNeeded - whether they are read as they are needed, until `closeLayers`; their checksums are then left to `checkOnDisk`
 * @param now - wall-clock time in milliseconds
 * @throws BadCommitGraph if one is truncated or of another version or object format
 */
export function readGraphLayers(
  objectDir: string,
  hash: HashAlgorithm,
  asNeeded = false,
  now: () => number = Date.now,
): GraphLayer[] | undefined {
  const info = join(objectDir, 'info');
  const single = readFile(join(info, 'commit-graph'), asNeeded, now);
  if (single) return [parseLayer(join(info, 'commit-graph'), single, hash)];
  const chainPath = join(info, 'commit-graphs', 'commit-graph-chain');
  const chain = readFile(chainPath, false, now);
  if (!chain) return undefined;
  const names = chain.bytes.toString('latin1').split('\n').filter(Boolean);
  const layers: GraphLayer[] = [];
  try {
    for (const name of names) {
      if (name.length !== hash.hex || !/^[0-9a-f]+$/.test(name)) throw new BadCommitGraph(`${chainPath} is malformed`);
      const path = join(info, 'commit-graphs', `graph-${name}.graph`);
      const file = readFile(path, asNeeded, now);
      if (!file) throw new BadCommitGraph(`${path} is missing`);
      const layer = parseLayer(path, file, hash);
      layers.push(layer);
      const { bytes, size, seek, bases } = layer;
      if (bases !== layers.length - 1)
        throw new BadCommitGraph(`${path} builds on ${bases} files, not on ${layers.length - 1}`);
      const at = seek(size - hash.bytes, hash.bytes);
      if (bytes.toString('hex', at, at + hash.bytes) !== name) throw new BadCommitGraph(`${path} has another checksum`);
    }
    return layers;
  } catch (error) {
    closeLayers(layers);
    throw error;
  }
}

/** @throws BadCommitGraph, with the file closed */
function parseLayer(path: string, file: ReadFile, hash: HashAlgorithm): GraphLayer {
  try {
    return parsedLayer(path, file, hash);
  } catch (error) {
    closeLayers([file]);
    throw error;
  }
}

function parsedLayer(
  path: string,
  { bytes, size, seek, identity, readInto }: ReadFile,
  hash: HashAlgorithm,
): GraphLayer {
  function read(start: number, length: number): Buffer {
    const at = seek(start, Math.max(0, Math.min(length, end - start)));
    return bytes.subarray(at, at + Math.max(0, Math.min(length, end - start)));
  }
  const fail = (what: string) => new BadCommitGraph(`${path}: ${what}`);
  const end = size - hash.bytes;
  const header = Buffer.from(end < 8 ? [] : read(0, 8));
  if (header.toString('latin1', 0, 4) !== 'CGPH') throw fail('it is not a commit-graph');
  if (header[4] !== 1) throw fail(`it has version ${header[4]}`);
  if (header[5] !== (hash.name === 'sha1' ? 1 : 2)) throw fail('it is of another object format');
  const file = { size: end, read };
  const chunks = readChunkTable(file, 8, header[6] ?? 0, fail);
  const [fanout, ids, data] = ['OIDF', 'OIDL', 'CDAT'].map((name) => chunks.get(name));
  if (!fanout || !ids || !data || fanout.length < 1024) throw fail('a chunk is missing');
  const count = read(fanout.start + 1020, 4).readUInt32BE();
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
    size,
    seek,
    identity,
    count,
    bases: header[7] ?? 0,
    ids,
    data,
    edges: chunks.get('EDGE'),
    offsets,
    largeOffsets: chunks.get('GDO2'),
    intact: readInto ? undefined : isIntact(bytes, end, hash),
    readInto,
  };
}

async function isIntact(bytes: Buffer, end: number, { name }: HashAlgorithm): Promise<boolean> {
  const said = bytes.toString('hex', end);
  return (
    (await checksum({ bytes: bytes.buffer as unknown as SharedArrayBuffer, length: end, algorithm: name })) === said
  );
}

/**
 * Waits until the checksums of all layers, whose files are in memory, are known.
 * @throws BadCommitGraph if one of them is wrong
 */
export async function checkIntact(layers: readonly GraphLayer[]): Promise<void> {
  for (const { path, intact } of layers)
    if (!(await intact)) throw new BadCommitGraph(`${path}: its checksum is wrong`);
}

/** The row of the commit with a raw id, counted through all layers as parents are named, or -1. */
export function rowInLayers(layers: readonly GraphLayer[], { bytes: width }: HashAlgorithm, id: Buffer): number {
  let firstRow = 0;
  for (const { bytes, seek, count, ids } of layers) {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = seek(ids.start + middle * width, width);
      const order = id.compare(bytes, at, at + width);
      if (order === 0) return firstRow + middle;
      if (order > 0) low = middle + 1;
      else high = middle;
    }
    firstRow += count;
  }
  return -1;
}

type ReadFile = Pick<GraphLayer, 'bytes' | 'size' | 'seek' | 'identity' | 'readInto'>;

/** So long, in milliseconds, a file may change again without another time. */
const tooNew = 2_000;

/** A file's content in shared memory, all of it or as it is needed; undefined if there is no such file. */
function readFile(path: string, asNeeded: boolean, now: () => number): ReadFile | undefined {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  let keepOpen = false;
  try {
    const stats = fstatSync(file, { bigint: true });
    const identity = identityOf(stats, now());
    const size = Number(stats.size);
    if (asNeeded) {
      const read = { ...readAsNeeded(file, size), identity };
      keepOpen = true;
      return read;
    }
    const bytes = Buffer.from(new SharedArrayBuffer(size));
    const length = fill(file, bytes, 0);
    return { bytes: bytes.subarray(0, length), size: length, seek: (start) => start, identity, readInto: undefined };
  } finally {
    if (!keepOpen) closeSync(file);
  }
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats, now: number): string | undefined {
  const changed = Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n);
  return now - changed < tooNew ? undefined : [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

/** Files that are open since they are read as they are needed, by what reads them. */
const openFiles = new WeakMap<GraphLayer['seek'], () => void>();

/**
 * Reads a few bytes at a time. Commits lie in the file by their ids, in no order of a history, so that pages would hardly hold two that are wanted,
 * and memory that was never used takes longer than what is read into it. When very much was read so, all of it is: in the first bytes of `bytes`
 * is what is read piece by piece, and behind them the file.
 */
function readAsNeeded(file: number, size: number): Omit<ReadFile, 'identity'> {
  const bytes = Buffer.from(new SharedArrayBuffer(pieceBytes + size));
  const mostReads = Math.ceil(size / bytesOfPiece);
  let reads = 0;
  const seek = (start: number, length: number): number => {
    if (reads > mostReads) return pieceBytes + start;
    if (reads++ === mostReads || length > pieceBytes) {
      reads = mostReads + 1;
      fill(file, bytes.subarray(pieceBytes), 0);
      return pieceBytes + start;
    }
    if (readSync(file, bytes, 0, length, start) < length) throw new BadCommitGraph('it has become shorter');
    return 0;
  };
  let closed = false;
  openFiles.set(seek, () => {
    if (!closed) closeSync(file);
    closed = true;
  });
  return { bytes, size, seek, readInto: (target, position) => fill(file, target, position) };
}

const pieceBytes = 4 * 1024;
/** So many bytes of a file take about as long to be read at once as one piece. */
const bytesOfPiece = 8 * 1024;

/** Closes the files that are read as they are needed. */
export function closeLayers(layers: readonly Pick<GraphLayer, 'seek'>[]): void {
  for (const { seek } of layers) openFiles.get(seek)?.();
}

/** Reads into memory from a position on. Gives how many bytes there were. */
function fill(file: number, bytes: Buffer, position: number): number {
  let at = 0;
  for (let got = -1; got !== 0 && at < bytes.length; at += got)
    got = readSync(file, bytes, at, bytes.length - at, position + at);
  return at;
}
