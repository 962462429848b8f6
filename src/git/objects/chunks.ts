import type { PagedFile } from './paged-file.js';

/** Part of a file in git's chunk format (gitformat-chunk(5)). */
export type Chunk = { readonly start: number; readonly length: number };

/**
 * The chunks of a file by their four letters.
 * @param at - where the table of chunks begins
 * @param fail - makes the error to throw for a table that does not fit the file
 */
export function readChunkTable(
  file: Pick<PagedFile, 'size' | 'read'>,
  at: number,
  count: number,
  fail: (what: string) => Error,
): Map<string, Chunk> {
  const table = file.read(at, (count + 1) * 12);
  if (table.length < (count + 1) * 12) throw fail('it ends within its table of chunks');
  const chunks = new Map<string, Chunk>();
  for (let i = 0; i < count; i++) {
    const start = Number(table.readBigUInt64BE(i * 12 + 4));
    const end = Number(table.readBigUInt64BE((i + 1) * 12 + 4));
    const name = table.toString('latin1', i * 12, i * 12 + 4);
    if (start < at || end < start || end > file.size)
      throw fail(`its chunk ${JSON.stringify(name)} is outside of the file`);
    chunks.set(name, { start, length: end - start });
  }
  return chunks;
}
