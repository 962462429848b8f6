import { join } from 'node:path';
import type { HashAlgorithm } from '../hash.js';
import { readLayout } from '../layout.js';
import type { AdvertisedRefs } from '../protocol/list-refs.js';
import { readShallow } from '../reader/shallow.js';
import type { Ref } from '../refs.js';
import { prepareRepository, replaceShallow } from './mirror-store.js';
import { hasText, packedRefs, replaceIfOther } from './packed-refs-text.js';

/**
 * Gives the branches and tags of a remote, once all of their objects are in a repository, to another one that borrows its objects.
 * They change all at once: readers see those of one fetch or of another. What is as it was is not written. Gives the number of refs.
 */
export function publishRefs(
  { refs, head, headRef }: AdvertisedRefs,
  from: string,
  to: string,
  hash: HashAlgorithm,
): number {
  prepareServed(to, join(from, 'objects'), hash);
  replaceShallow(to, readShallow(readLayout('mirror', from)));
  replaceIfOther(join(to, 'HEAD'), `${headLine(refs, head, headRef)}\n`);
  replaceIfOther(join(to, 'packed-refs'), packedRefs(refs));
  return refs.length;
}

/** Whether a repository was given exactly these refs by `publishRefs`. */
export function isPublished({ refs, head, headRef }: AdvertisedRefs, to: string): boolean {
  return (
    hasText(join(to, 'packed-refs'), packedRefs(refs)) &&
    hasText(join(to, 'HEAD'), `${headLine(refs, head, headRef)}\n`)
  );
}

/** HEAD as a clone has it: a branch, a commit of its own, or a branch that is not there. */
function headLine(refs: readonly Ref[], head: string | undefined, headRef: string | undefined): string {
  const named = refs.find(({ name, id }) => name === headRef && name.startsWith('refs/heads/') && id === head);
  if (named) return `ref: ${named.name}`;
  if (head !== undefined) return head;
  const names = new Set(refs.map(({ name }) => name));
  let unborn = 'refs/heads/unborn';
  while (names.has(unborn)) unborn += '-unborn';
  return `ref: ${unborn}`;
}

function prepareServed(directory: string, objectDir: string, hash: HashAlgorithm): void {
  prepareRepository(directory, hash);
  replaceIfOther(join(directory, 'objects/info/alternates'), `${objectDir}\n`);
}
