import type { HashAlgorithm } from '../hash.js';
import type { ObjectType } from './object.js';
import { idInPieces, rawId } from './object-id.js';
import { type Checked, type CheckedSha1, createCheckedSha1 } from './sha1-checked/checked-sha1.js';

let shared: CheckedSha1 | undefined;

/**
 * The raw id that git gives to an object which somebody else may have made.
 * @throws Error naming it if its content is part of a collision attack on SHA-1: there is another of the same id
 */
export function checkedId(hash: HashAlgorithm, type: ObjectType, data: Buffer): Buffer {
  if (hash.name !== 'sha1') return rawId(hash, type, data);
  shared ??= createCheckedSha1();
  return withoutCollision(shared.digest(`${type} ${data.length}\0`, data));
}

/** The same of an object of so many bytes that comes piece by piece. @throws from `id` */
export function checkedIdInPieces(
  hash: HashAlgorithm,
  type: ObjectType,
  size: number,
): { add(piece: Buffer): void; id(): Buffer } {
  if (hash.name !== 'sha1') return idInPieces(hash, type, size);
  const running = createCheckedSha1();
  running.add(`${type} ${size}\0`);
  return { add: running.add, id: () => withoutCollision(running.digest('')) };
}

/** @throws Error naming the object whose content collides */
export function withoutCollision({ hash, collides }: Checked): Buffer {
  if (!collides) return hash;
  throw new Error(`object ${hash.toString('hex')} is part of a collision attack on SHA-1`);
}
