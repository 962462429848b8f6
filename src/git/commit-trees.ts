import { LRUCache } from 'lru-cache';
import { isHex } from './hash.js';
import type { Layout } from './layout.js';
import type { Reader } from './reader/reader.js';

/** What is asked of the trees of one repository's commits. */
export type CommitTrees = {
  /** See `Repositories.isPlain`; throws what the reader throws. */
  isPlain(commit: string): Promise<boolean | undefined>;
};

/** Answers that are remembered. */
const remembered = 16_384;

/** Makes it. A commit never changes, so neither do the answers; those at the same time share one look. */
export function createCommitTrees(layout: Layout, reader: Reader): CommitTrees {
  const plain = remembering<boolean | undefined>((answer) => answer !== undefined);
  const isId = (commit: string) => commit.length === layout.hash.hex && isHex(commit);
  return {
    async isPlain(commit) {
      if (!isId(commit)) return undefined;
      return plain(commit, () => reader.read.plain({ layout, commit }));
    },
  };
}

/** Remembers answers by a key as long as they last; an error, or an answer that does not last, is asked for again. */
function remembering<T>(lasts: (answer: T) => boolean): (key: string, ask: () => Promise<T>) => Promise<T> {
  const known = new LRUCache<string, Promise<T>>({ max: remembered });
  return (key, ask) => {
    const before = known.get(key);
    if (before) return before;
    const asked = ask();
    known.set(key, asked);
    const forget = () => {
      if (known.peek(key) === asked) known.delete(key);
    };
    asked.then((answer) => lasts(answer) || forget(), forget);
    return asked;
  };
}
