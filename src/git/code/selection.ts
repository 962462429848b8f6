import { wholeTree } from '../../domain/code/code-paths.js';

/** What of a directory is checked out: all of it, or, by their names as bytes in latin1, what of some of its entries is. */
export type Selection = 'all' | ReadonlyMap<string, Selection>;

/** What normal code paths select of a tree. */
export function selectionOf(paths: readonly string[]): Selection {
  if (paths.includes(wholeTree)) return 'all';
  const selected = new Map<string, Selection>();
  for (const path of paths) {
    let at = selected;
    const parts = Buffer.from(path).toString('latin1').split('/');
    const last = parts.pop() as string;
    for (const part of parts) {
      const known = at.get(part);
      const inside = known instanceof Map ? known : new Map<string, Selection>();
      at.set(part, inside);
      at = inside;
    }
    at.set(last, 'all');
  }
  return selected;
}
