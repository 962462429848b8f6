import { LRUCache } from 'lru-cache';
import type { CodeEntry } from '../domain/code/code-digest.js';
import { codePathsText } from '../domain/code/code-paths.js';
import type { Changes, ChangesQuery } from './code/changed-paths.js';
import type { CodeFound, CodeQuery } from './code/code-at.js';
import type { CodeDifference } from './code/first-difference.js';
import { isHex } from './hash.js';
import type { Layout } from './layout.js';
import type { ScriptFound } from './port.js';
import type { Reader } from './reader/reader.js';

/** What is asked of the trees of one repository's commits. */
export type CommitTrees = {
  /** See `Repositories.isPlain`; throws what the reader throws. */
  isPlain(commit: string): Promise<boolean | undefined>;
  /** See `Repositories.script`; throws what the reader throws. */
  script(commit: string, path: string): Promise<ScriptFound | undefined>;
  /** See `Repositories.code`. */
  code(query: CodeQuery): Promise<CodeFound>;
  /** See `Repositories.codeDifference`; throws what the reader throws. */
  codeDifference(one: CodeEntry, other: CodeEntry): Promise<CodeDifference | undefined>;
  /** See `Repositories.changes`. */
  changes(query: ChangesQuery, signal: AbortSignal): Promise<Changes>;
};

/** Characters of the keys, with a surcharge for each, whose answers are remembered: about 10,000 answers. */
const remembered = 2 * 1024 * 1024;

/** What an answer counts beside its key. */
const surcharge = 100;

/** What one counts for each path that it is about. */
const surchargeOfPath = 100;

/** Makes it. A commit never changes, so neither do the answers; those at the same time share one look. */
export function createCommitTrees(layout: Layout, reader: Reader): CommitTrees {
  const plain = remembering<boolean>();
  const scripts = remembering<ScriptFound>();
  const codes = remembering<CodeFound>();
  const isId = (commit: string) => commit.length === layout.hash.hex && isHex(commit);
  return {
    async isPlain(commit) {
      if (!isId(commit)) return undefined;
      return plain(commit, () => reader.read.plain({ layout, commit }));
    },
    async script(commit, script) {
      if (!isId(commit)) return undefined;
      return scripts(`${commit} ${script}`, () => reader.read.script({ layout, commit, script }));
    },
    async code({ commit, paths, checked }) {
      const key = `${commit} ${checked} ${codePathsText(paths)}`;
      const surcharge = paths.length * surchargeOfPath;
      const found = await codes(key, () => reader.read.code({ layout, commit, paths, checked }), surcharge);
      if (!found) throw new Error(`commit ${commit} was looked at in vain`);
      return found;
    },
    codeDifference: (one, other) => reader.read.codeDifference({ layout, one, other }),
    changes: (query, signal) => reader.read.changes({ layout, ...query }, { signal }),
  };
}

type Answer<T> = Promise<T | undefined>;

/** Remembers answers by a key; an error, or undefined, is asked for again. */
function remembering<T>(): (key: string, ask: () => Answer<T>, more?: number) => Answer<T> {
  const known = new LRUCache<string, Answer<T>>({
    maxSize: remembered,
  });
  return (key, ask, more = 0) => {
    const before = known.get(key);
    if (before) return before;
    const asked = ask();
    known.set(key, asked, { size: key.length + surcharge + more });
    const forget = () => {
      if (known.peek(key) === asked) known.delete(key);
    };
    asked.then((answer) => answer === undefined && forget(), forget);
    return asked;
  };
}
