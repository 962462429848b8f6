import { join } from 'node:path';
import { replaceDurably } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';
import { fileKind } from '../file-kind.js';
import { readLayout } from '../layout.js';
import { openObjectStore } from '../objects/object-store.js';
import type { Ref } from '../refs.js';
import type { AdvertisedRefs } from './advertised-refs.js';

/**
 * Gives the branches and tags of a remote, once all of their objects are in a repository, to another one that borrows its objects.
 * They change all at once: readers see those of one fetch or of another. Gives the number of refs.
 * @throws Error naming a ref whose object is missing
 */
export function publishRefs({ refs, head, headRef }: AdvertisedRefs, from: string, to: string): number {
  const layout = readLayout('mirror', from);
  const objects = openObjectStore({ repository: 'mirror', directory: layout.objectDir, hash: layout.hash });
  try {
    for (const { name, id } of [...refs, ...(head === undefined ? [] : [{ name: 'HEAD', id: head }])])
      if (!objects.typeOf(id)) throw new Error(`the object ${id} of ${name} did not arrive`);
    const list = [...refs].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    prepare(to, layout.objectDir);
    replaceDurably(join(to, 'HEAD'), `${headLine(refs, head, headRef)}\n`);
    const lines = list.map(({ name, id }) => `${id} ${name}\n`);
    replaceDurably(join(to, 'packed-refs'), `# pack-refs with: sorted \n${lines.join('')}`);
    return list.length;
  } finally {
    objects.close();
  }
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

function prepare(directory: string, objectDir: string): void {
  if (fileKind(join(directory, 'config')) === 'file') return;
  makeDirectory(join(directory, 'refs'));
  makeDirectory(join(directory, 'objects/info'));
  replaceDurably(join(directory, 'objects/info/alternates'), `${objectDir}\n`);
  replaceDurably(join(directory, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = true\n');
}
