import { createHash, hash as digest } from 'node:crypto';
import type { HashAlgorithm } from '../hash.js';
import type { ObjectType } from './object.js';

/** Most bytes that are copied to be hashed in one call, which is faster for the small objects that most are. */
const copied = 64 * 1024;

/** The raw id that git gives to an object. */
export function rawId(hash: HashAlgorithm, type: ObjectType, data: Buffer): Buffer {
  const header = `${type} ${data.length}\0`;
  if (data.length > copied) return createHash(hash.name).update(header).update(data).digest();
  const whole = Buffer.allocUnsafe(header.length + data.length);
  whole.write(header, 'latin1');
  whole.set(data, header.length);
  return digest(hash.name, whole, 'buffer');
}

/** The raw id of an object of so many bytes that comes piece by piece. */
export function idInPieces(
  hash: HashAlgorithm,
  type: ObjectType,
  size: number,
): { add(piece: Buffer): void; id(): Buffer } {
  const running = createHash(hash.name).update(`${type} ${size}\0`);
  return { add: (piece) => void running.update(piece), id: () => running.digest() };
}
