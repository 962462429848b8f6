import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { constants, inflateSync } from 'node:zlib';
import { errno } from '../problem.js';
import { type GitObject, isObjectType, largestObject, ObjectTooLarge, type ObjectType } from './object.js';

/** Objects that are kept in a file each. */
export type LooseObjects = {
  typeOf(id: string): ObjectType | undefined;
  read(id: string): GitObject | undefined;
  /** Ids, in order, that begin with the given digits, of which there must be two or more. */
  withPrefix(prefix: string): string[];
};

/** A header is a word, a number and a zero; this many deflated bytes are enough for it. */
const headBytes = 128;

/**
 * Loose objects of one object directory.
 * @param fail - makes the error to throw for a malformed or truncated file
 * @param largest - most bytes of an object
 */
export function openLooseObjects(
  directory: string,
  hexDigits: number,
  fail: (what: string, cause?: unknown) => Error,
  largest = largestObject,
): LooseObjects {
  const pathOf = (id: string) => join(directory, id.slice(0, 2), id.slice(2));

  function load(id: string, most: number): Buffer | undefined {
    let file: number;
    try {
      file = openSync(pathOf(id), 'r');
    } catch (error) {
      if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
      throw error;
    }
    try {
      const { size } = fstatSync(file);
      if (size > most && most > headBytes) {
        throw fail(`object ${id} takes ${size} bytes`, new ObjectTooLarge(size));
      }
      const bytes = Buffer.allocUnsafe(Math.min(size, most));
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(file);
    }
  }

  function inflate(id: string, bytes: Buffer, partly: boolean): Buffer {
    try {
      return inflateSync(bytes, {
        maxOutputLength: largest + headBytes,
        ...(partly ? { finishFlush: constants.Z_SYNC_FLUSH } : {}),
      });
    } catch (error) {
      const more = errno(error) === 'ERR_BUFFER_TOO_LARGE';
      throw fail(`object ${id} cannot be inflated: ${String(error)}`, more ? new ObjectTooLarge(largest + 1) : error);
    }
  }

  function header(id: string, content: Buffer): { type: ObjectType; size: number; dataAt: number } {
    const end = content.indexOf(0);
    const [type = '', size = '', ...more] = content.toString('latin1', 0, Math.max(0, end)).split(' ');
    if (end > 32 || !isObjectType(type) || !/^(0|[1-9][0-9]*)$/.test(size) || more.length > 0) {
      throw fail(`object ${id} has no header`);
    }
    return { type, size: Number(size), dataAt: end + 1 };
  }

  return {
    typeOf(id) {
      const bytes = load(id, headBytes);
      return bytes && header(id, inflate(id, bytes, true)).type;
    },
    read(id) {
      const bytes = load(id, largest);
      if (!bytes) return undefined;
      const content = inflate(id, bytes, false);
      const { type, size, dataAt } = header(id, content);
      if (content.length - dataAt !== size) throw fail(`object ${id} has another size than it says`);
      return { type, data: content.subarray(dataAt) };
    },
    withPrefix(prefix) {
      const start = prefix.slice(0, 2);
      try {
        return readdirSync(join(directory, start))
          .filter((rest) => rest.length === hexDigits - 2 && /^[0-9a-f]+$/.test(rest))
          .map((rest) => start + rest)
          .filter((id) => id.startsWith(prefix))
          .sort();
      } catch (error) {
        if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
        throw error;
      }
    },
  };
}
