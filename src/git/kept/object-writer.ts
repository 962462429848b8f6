import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createDeflate, deflateSync } from 'node:zlib';
import { replaceDurably, syncDirectory, writtenAside } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import type { GitObject } from '../objects/object.js';
import { temporaryPrefix } from './kept-repository.js';

/** Writes loose objects into an object directory. */
export type ObjectWriter = {
  /** Writes an object, whose id must be right, or throws what the signal says, or the system with the path, and leaves nothing behind. */
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

  return {
    async write(id, { type, data }, signal) {
      const header = Buffer.from(`${type} ${data.length}\0`);
      const folder = join(directory, id.slice(0, 2));
      const path = join(folder, id.slice(2));
      const how = { aside: join(directory, `${temporaryPrefix}${++written}`), mode: 0o400 };
      makeDirectory(folder);
      if (data.length <= oneGo) {
        const whole = deflateSync(Buffer.concat([header, data]), { level });
        replaceDurably(path, [whole], { ...how, folder: 'later' });
      } else {
        await writtenAside(how, async ({ fill, replace }) => {
          await pipeline(pieces(header, data), createDeflate({ level }), fill, {
            signal,
          });
          await replace(path, { folder: 'later' });
        });
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
