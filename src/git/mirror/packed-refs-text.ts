import { readFileSync } from 'node:fs';
import { replaceDurably } from '../../files/durable-file.js';
import { fileKind } from '../file-kind.js';
import type { Ref } from '../refs.js';

/** The text of a `packed-refs` file with these refs. */
export function packedRefs(refs: readonly Ref[]): string {
  const list = [...refs].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  return `# pack-refs with: sorted \n${list.map(({ name, id }) => `${id} ${name}\n`).join('')}`;
}

/** Puts a text into a file as `replaceDurably` does, unless it is there already. */
export function replaceIfOther(path: string, text: string): void {
  if (!hasText(path, text)) replaceDurably(path, text);
}

/** Whether a file is there and has just this text. */
export function hasText(path: string, text: string): boolean {
  return fileKind(path) === 'file' && readFileSync(path, 'utf8') === text;
}
