import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileKind } from '../file-kind.js';
import { readLayout } from '../layout.js';
import { openObjectStore } from '../objects/object-store.js';
import { openRefs } from '../refs.js';

/**
 * Gives the branches and tags of a repository, once all of their objects are there, to another one that borrows its objects.
 * They change all at once: readers see those of one fetch or of another. Gives the number of refs.
 * @param head - branch that HEAD names, as `refs/heads/…`
 * @throws Error naming a ref whose object is missing
 */
export function publishRefs(from: string, to: string, head: string): number {
  const layout = readLayout('mirror', from);
  const refs = openRefs(layout, Date.now);
  const objects = openObjectStore({ repository: 'mirror', directory: layout.objectDir, hash: layout.hash });
  try {
    const list = refs.list().filter(({ name }) => /^refs\/(heads|tags)\//.test(name));
    for (const { name, id } of list)
      if (!objects.typeOf(id)) throw new Error(`the object ${id} of ${name} did not arrive`);
    list.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    prepare(to, layout.objectDir);
    replace(join(to, 'HEAD'), `ref: ${head}\n`);
    const lines = list.map(({ name, id }) => `${id} ${name}\n`);
    replace(join(to, 'packed-refs'), `# pack-refs with: sorted \n${lines.join('')}`);
    return list.length;
  } finally {
    objects.close();
    refs.close();
  }
}

function prepare(directory: string, objectDir: string): void {
  if (fileKind(join(directory, 'config')) === 'file') return;
  mkdirSync(join(directory, 'refs'), { recursive: true });
  mkdirSync(join(directory, 'objects/info'), { recursive: true });
  replace(join(directory, 'objects/info/alternates'), `${objectDir}\n`);
  replace(join(directory, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = true\n');
}

function replace(path: string, content: string): void {
  writeFileSync(`${path}.lock`, content);
  renameSync(`${path}.lock`, path);
}
