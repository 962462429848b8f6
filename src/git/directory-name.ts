import { createHash } from 'node:crypto';

/**
 * A name for the directory of what is kept of a repository: safe whatever the repository is called, and not shared with another
 * repository.
 * @param place - also tells repositories apart that have been at several places under one name
 */
export function directoryName(name: string, place?: string): string {
  const digest = digestOf(place === undefined ? name : `${name}\0${place}`);
  return `${name.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 64)}-${digest}`;
}

/** Sixteen hexadecimal digits that tell texts apart. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);
