import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createDeflate, deflateSync } from 'node:zlib';
import { syncDirectory } from '../../files/durable-file.js';
import type { GitObject } from '../objects/object.js';
import { temporaryPrefix } from './kept-repository.js';

/** Writes loose objects into an object directory. */
export type ObjectWriter = {
  /** Writes an object, whose id must be right, or throws what the system or the signal says and leaves nothing behind. */
  write(id: string, object: GitObject, signal: AbortSignal): Promise<void>;
  /** Makes the names of what was written durable. */
  sync(): void;
};

/** Objects up to this size are deflated in one go; larger ones piece by piece, so that only the object itself is in memory. */
const oneGo = 1024 * 1024;

/** As git deflates loose objects: fast. */
const level = 1;

/** A writer, to be the only one of that directory. */
export function openObjectWriter(directory: string): ObjectWriter {
  const touched = new Set<string>();
  let written = 0;

  async function fill(file: number, { type, data }: GitObject, signal: AbortSignal): Promise<void> {
    const header = Buffer.from(`${type} ${data.length}\0`);
    if (data.length <= oneGo) {
      writeFileSync(file, deflateSync(Buffer.concat([header, data]), { level }));
      return;
    }
    const deflated = Readable.from(pieces(header, data)).pipe(createDeflate({ level }));
    for await (const bytes of deflated) {
      signal.throwIfAborted();
      writeFileSync(file, bytes as Buffer);
    }
  }

  return {
    async write(id, object, signal) {
      const folder = join(directory, id.slice(0, 2));
      const temporary = join(directory, `${temporaryPrefix}${++written}`);
      const file = openSync(temporary, 'wx', 0o444);
      try {
        try {
          await fill(file, object, signal);
          fsyncSync(file);
        } finally {
          closeSync(file);
        }
        mkdirSync(folder, { recursive: true });
        renameSync(temporary, join(folder, id.slice(2)));
      } catch (error) {
        rmSync(temporary, { force: true });
        throw error;
      }
      touched.add(folder);
    },
    sync() {
      if (touched.size === 0) return;
      for (const folder of touched) syncDirectory(folder);
      touched.clear();
      syncDirectory(directory);
    },
  };
}

function* pieces(header: Buffer, data: Buffer): Generator<Buffer> {
  yield header;
  for (let at = 0; at < data.length; at += oneGo) yield data.subarray(at, at + oneGo);
}
