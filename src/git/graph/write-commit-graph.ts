import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { replaceDurably } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import { type CommitTable, parentsOf } from './commit-table.js';
import { sortIds } from './sort-ids.js';
import type { Topology } from './topology.js';

const noParent = 0x70000000;
const inEdges = 0x80000000;
/** The file has 30 bits for a level; what is higher is written as this. */
const highestLevel = 0x3fffffff;
const largestOffset = 0x7fffffff;

/**
 * Writes commits, of which all parents must be there too, as `info/commit-graph` of an object directory in git's own format
 * (gitformat-commit-graph(5), version 1, with generation data v2). The file appears whole or not at all.
 */
export function writeCommitGraph(objectDir: string, table: CommitTable, { levels, correctedDates }: Topology): void {
  const { hash, count } = table;
  const sorted = sortIds(table.ids, count, hash.bytes);
  const placeOf = new Uint32Array(count);
  for (let place = 0; place < count; place++) placeOf[sorted[place] ?? 0] = place;

  const fanout = Buffer.alloc(1024);
  const ids = Buffer.alloc(count * hash.bytes);
  const data = Buffer.alloc(count * (hash.bytes + 16));
  const offsets = Buffer.alloc(count * 4);
  const largeOffsets: bigint[] = [];
  const edges: number[] = [];
  const perFirstByte = new Uint32Array(256);
  for (let place = 0; place < count; place++) {
    const row = sorted[place] ?? 0;
    const start = row * hash.bytes;
    table.ids.copy(ids, place * hash.bytes, start, start + hash.bytes);
    perFirstByte[table.ids[start] ?? 0] = (perFirstByte[table.ids[start] ?? 0] ?? 0) + 1;
    const [first, second, ...more] = parentsOf(table, row).map((parent) => placeOf[parent] ?? 0);
    let at = place * (hash.bytes + 16);
    at += table.trees.copy(data, at, start, start + hash.bytes);
    at = data.writeUInt32BE(first ?? noParent, at);
    at = data.writeUInt32BE(more.length > 0 ? inEdges + edges.length : (second ?? noParent), at);
    if (more.length > 0) {
      const rest = [second ?? 0, ...more];
      for (const [i, parent] of rest.entries()) edges.push(i === rest.length - 1 ? inEdges + parent : parent);
    }
    // What the file has no room for of a date is made up for by the offset.
    const date = (table.dates[row] ?? 0) % 2 ** 34;
    const dateHigh = Math.floor(date / 2 ** 32);
    at = data.writeUInt32BE(Math.min(levels[row] ?? 0, highestLevel) * 4 + dateHigh, at);
    data.writeUInt32BE(date % 2 ** 32, at);
    const offset = (correctedDates[row] ?? 0) - date;
    if (offset > largestOffset) {
      offsets.writeUInt32BE(inEdges + largeOffsets.length, place * 4);
      largeOffsets.push(BigInt(offset));
    } else offsets.writeUInt32BE(offset, place * 4);
  }
  let sum = 0;
  for (let i = 0; i < 256; i++) {
    sum += perFirstByte[i] ?? 0;
    fanout.writeUInt32BE(sum, i * 4);
  }
  const chunks: [string, Buffer][] = [
    ['OIDF', fanout],
    ['OIDL', ids],
    ['CDAT', data],
    ['GDA2', offsets],
  ];
  if (largeOffsets.length > 0) {
    const large = Buffer.alloc(largeOffsets.length * 8);
    for (const [i, offset] of largeOffsets.entries()) large.writeBigUInt64BE(offset, i * 8);
    chunks.push(['GDO2', large]);
  }
  if (edges.length > 0) {
    const list = Buffer.alloc(edges.length * 4);
    for (const [i, edge] of edges.entries()) list.writeUInt32BE(edge, i * 4);
    chunks.push(['EDGE', list]);
  }
  writeChunks(join(objectDir, 'info'), hash.name, chunks);
}

function writeChunks(directory: string, hashName: 'sha1' | 'sha256', chunks: readonly [string, Buffer][]): void {
  const header = Buffer.alloc(8 + (chunks.length + 1) * 12);
  header.write('CGPH', 'latin1');
  header.set([1, hashName === 'sha1' ? 1 : 2, chunks.length, 0], 4);
  let start = header.length;
  for (const [i, [name, bytes]] of [...chunks, ['\0\0\0\0', Buffer.alloc(0)] as const].entries()) {
    header.write(name, 8 + i * 12, 'latin1');
    header.writeBigUInt64BE(BigInt(start), 12 + i * 12);
    start += bytes.length;
  }
  const sum = createHash(hashName);
  makeDirectory(directory);
  const parts = [header, ...chunks.map(([, bytes]) => bytes)];
  for (const part of parts) sum.update(part);
  replaceDurably(join(directory, 'commit-graph'), [...parts, sum.digest()], {
    aside: join(directory, `commit-graph.${process.pid}.lock`),
  });
}
