import { invalid, MemoirError, quote } from '../domain/errors.js';
import { type BlobName, nameOf } from './blob-name.js';

/** Longest name of a resource, in UTF-16 code units. */
const longest = 1_024;

/** Where bytes come from or go to: a blob, and for an upload what its client calls it. */
export type Resource = BlobName & {
  /** UUID that the client made; empty for a download. */
  readonly upload: string;
};

/**
 * Reads a resource name of the Remote Execution API: `blobs/<hash>/<size>`. An instance that stands before it must be the empty one, which
 * is the only one here.
 * @throws MemoirError INVALID_ARGUMENT naming it, or UNIMPLEMENTED if its bytes would be compressed
 */
export function downloadOf(name: string): Resource {
  const parts = partsOf(name);
  const at = parts.indexOf('blobs');
  checkInstance(name, parts, at);
  return { ...blobIn(name, parts.slice(at)), upload: '' };
}

/**
 * Reads a resource name of an upload: `uploads/<uuid>/blobs/<hash>/<size>`, and whatever the client appends.
 * @throws as `downloadOf`
 */
export function uploadOf(name: string): Resource {
  const parts = partsOf(name);
  const at = parts.indexOf('uploads');
  checkInstance(name, parts, at);
  const upload = parts[at + 1] ?? '';
  if (!/^[0-9a-fA-F-]{32,36}$/.test(upload)) throw bad(name, `${quote(upload)} is not a UUID`);
  return { ...blobIn(name, parts.slice(at + 2)), upload: upload.toLowerCase() };
}

function partsOf(name: string): string[] {
  if (name.length > longest) throw bad(name, `it has more than ${longest} characters`);
  const parts = name.split('/');
  if (parts.includes('compressed-blobs')) {
    throw new MemoirError(
      'UNIMPLEMENTED',
      'NOT_COMPRESSED',
      `resource_name ${quote(name)}: bytes are not compressed here`,
      {
        field: 'resource_name',
      },
    );
  }
  return parts;
}

function checkInstance(name: string, parts: readonly string[], at: number): void {
  if (at < 0) throw bad(name, 'it names no blob');
  const instance = parts.slice(0, at).join('/');
  if (instance !== '') throw unknownInstance('resource_name', instance);
}

function blobIn(name: string, [blobs, hash = '', size = '']: readonly string[]): BlobName {
  if (blobs !== 'blobs') throw bad(name, 'it names no blob');
  if (!/^[0-9]{1,16}$/.test(size)) throw bad(name, `${quote(size)} is not a size`);
  return nameOf('resource_name', hash, BigInt(size));
}

function bad(name: string, why: string): MemoirError {
  return invalid('resource_name', 'BAD_RESOURCE_NAME', `resource_name ${quote(name)}: ${why}`);
}

/** The error for an instance that is not here. */
export function unknownInstance(field: string, instance: string): MemoirError {
  return invalid(field, 'UNKNOWN_INSTANCE', `${field}: there is no instance ${quote(instance)}, only the empty one`);
}
