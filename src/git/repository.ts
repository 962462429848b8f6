import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { CodeEntry } from '../domain/code/code-digest.js';
import { MemoirError, quote } from '../domain/errors.js';
import { createAncestry } from './ancestry.js';
import type { Changes, ChangesQuery } from './code/changed-paths.js';
import type { CodeFound, CodeQuery } from './code/code-at.js';
import type { CodeDifference } from './code/first-difference.js';
import { createCommitTrees } from './commit-trees.js';
import { fileKind } from './file-kind.js';
import type { GraphBudget } from './graph/graph-budget.js';
import { createHistory, type HistoryOptions } from './graph/history.js';
import { type Layout, readLayout } from './layout.js';
import type { Asking, CommitRange, NamedRefspec, RangeQuery, ScriptFound } from './port.js';
import { unavailable } from './problem.js';
import { createRanges, type RangeEnds } from './ranges.js';
import { believedFor, type Peeled } from './reader/object-reader.js';
import { readShallow } from './reader/shallow.js';
import { openRefs } from './refs.js';
import { type RefspecSource, resolveRefspec } from './refspec/resolve.js';
import type { Searcher } from './search/searcher.js';

/** What comes of it, unless something is damaged: then what is asked may still be told by single objects. */
async function sound<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof MemoirError && error.code === 'DATA_LOSS') return undefined;
    throw error;
  }
}

/** One repository. */
export type Repository = {
  /** See `Repositories.resolve`. */
  resolve(refspec: string, field: string, asking?: Asking): Promise<string>;
  /** See `Repositories.range`. */
  range(query: RangeQuery, asking?: Asking): Promise<CommitRange>;
  /** See `Repositories.isAncestor`. */
  isAncestor(ancestor: string, commits: readonly string[]): Promise<readonly (boolean | undefined)[]>;
  /** See `Repositories.isPlain`. */
  isPlain(commit: string): Promise<boolean | undefined>;
  /** See `Repositories.script`. */
  script(commit: string, path: string): Promise<ScriptFound | undefined>;
  /** See `Repositories.code`. */
  code(query: CodeQuery): Promise<CodeFound>;
  /** See `Repositories.codeDifference`. */
  codeDifference(one: CodeEntry, other: CodeEntry): Promise<CodeDifference | undefined>;
  /** See `Repositories.changes`. */
  changes(query: ChangesQuery, signal: AbortSignal): Promise<Changes>;
  /** Where the objects of a commit that was resolved are. */
  objects(): Promise<Layout>;
  close(): Promise<void>;
};

/** What a repository takes from what is around it. */
export type RepositoryOptions = Omit<HistoryOptions, 'layout' | 'onLoaded'> & {
  /** Wall-clock time in milliseconds. */
  readonly now: () => number;
  /** Lets go of the history when it is due. */
  readonly budget: GraphBudget;
  /** What searches in messages. */
  readonly searcher: Searcher;
};

/** Commits that are remembered as such, so that a full hash costs no look at the disk. */
const rememberedCommits = 16_384;

/** So many commits are read one by one sooner than a whole history is loaded. */
const fewGenerations = 256;

/** Generations that are gone back between two chances for other work. */
const ancestorStride = 65_536;

/** Most commits whose messages one search looks at, so that what it takes in memory is bounded. */
const longestSearch = 2_000_000;

/**
 * Opens the repository at a path.
 * @throws MemoirError as `readLayout` does
 */
export function openRepository(name: string, path: string, options: RepositoryOptions): Repository {
  const { reader, now, budget } = options;
  const { read } = reader;
  const layout = readLayout(name, path);
  if (layout.partialOf !== undefined) {
    const facts = { repository: name, remote: layout.partialOf };
    options.log.warn(facts, 'a partial clone: some of its objects are not here, and jobs that need them fail');
  }
  const history = createHistory({ ...options, layout, onLoaded: budget.sweep });
  const ranges = createRanges(history, options.slicer);
  const ancestry = createAncestry(history, options.slicer);
  const release = budget.hold({
    name,
    bytes: history.bytes,
    usedAt: history.usedAt,
    unload() {
      history.unload();
      ranges.forget();
      ancestry.forget();
    },
  });
  const refs = openRefs(layout, now);
  const trees = createCommitTrees(layout, reader);
  /** By id of a commit or tag, the commit. An object never changes, so neither does what is here; but it may go. */
  const commits = new LRUCache<string, string>({
    maxSize: rememberedCommits,
    sizeCalculation: () => 1,
    ttl: believedFor,
    ttlResolution: believedFor / 10,
    perf: { now: options.monotonic },
  });

  async function peel(id: string): Promise<Peeled | undefined> {
    const known = commits.get(id);
    if (known !== undefined) return { id: known, type: 'commit' };
    const peeled = await read.peel({ layout, id });
    if (peeled?.type === 'commit') {
      commits.set(id, peeled.id);
      commits.set(peeled.id, peeled.id);
    }
    return peeled;
  }

  async function ancestor(id: string, generations: number): Promise<string | undefined> {
    const shallow = readShallow(layout).size > 0;
    const far = generations > fewGenerations && !shallow;
    const graph = far ? await sound(history.graphWith([id])) : shallow ? undefined : history.loaded();
    let number = graph?.numberOf(id) ?? -1;
    if (!graph || number < 0) return read.ancestor({ layout, id, generations });
    for (let i = 0; i < generations && number >= 0; i++) {
      number = graph.firstParent(number);
      if (i % ancestorStride === ancestorStride - 1) await turn();
    }
    return number < 0 ? undefined : graph.idOf(number);
  }

  const source: RefspecSource = {
    hash: layout.hash,
    findRef: refs.find,
    peel,
    typeOf: (id) => read.typeOf({ layout, id }),
    parents: (id) => read.parents({ layout, id }),
    ancestor,
    abbreviated: (prefix, kind) => read.abbreviated({ layout, prefix, kind }),
    async search(search, from, asking) {
      const starts = from === undefined ? undefined : [from];
      const { commit, exhausted } = await options.searcher.search(
        { layout, search, starts, limit: longestSearch },
        asking,
      );
      if (!exhausted) return commit;
      throw new MemoirError(
        'RESOURCE_EXHAUSTED',
        'SEARCH_TOO_LONG',
        `none of the ${longestSearch} youngest commits of repository ${JSON.stringify(name)} has such a message`,
        { metadata: { repository: name } },
      );
    },
  };

  async function resolve(refspec: string, field: string, asking?: Asking): Promise<string> {
    if (refspec.length === layout.hash.hex && commits.get(refspec) === refspec) return refspec;
    try {
      return await resolveRefspec(source, name, refspec, { field, asking });
    } catch (error) {
      if (fileKind(join(layout.gitDir, 'HEAD'))) throw error;
      throw unavailable(name, `${JSON.stringify(layout.gitDir)} is not there any more`, error);
    }
  }

  function refuseShallow(what: string): void {
    if (readShallow(layout).size === 0) return;
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'SHALLOW_REPOSITORY',
      `repository ${quote(name)} is shallow, so that ${what} cannot be told`,
      { metadata: { repository: name } },
    );
  }

  return {
    resolve,
    isPlain: trees.isPlain,
    script: trees.script,
    code: trees.code,
    codeDifference: trees.codeDifference,
    changes: trees.changes,
    objects: async () => layout,
    async range({ end, minimum, exclude = [] }, asking) {
      const resolved = (named: NamedRefspec) => resolve(named.refspec, named.field, asking);
      const ends: RangeEnds = {
        end: await resolved(end),
        minimum: minimum && (await resolved(minimum)),
        excluded: await Promise.all(exclude.map(resolved)),
      };
      if (ends.minimum !== undefined && ends.minimum !== ends.end) {
        refuseShallow(`which commits lie between ${ends.minimum} and ${ends.end}`);
      }
      return ranges.between(ends);
    },
    async close() {
      release();
      refs.close();
      await history.close();
      await reader.forget(layout);
    },
    async isAncestor(ancestor, commits) {
      refuseShallow(`which commits have ${ancestor} in their history`);
      const graph = history.loaded();
      const isHere = async (commit: string) => {
        if ((graph?.numberOf(commit) ?? -1) >= 0) return true;
        const peeled = await peel(commit);
        return peeled?.type === 'commit' && peeled.id === commit;
      };
      if (!(await isHere(ancestor))) return commits.map(() => undefined);
      const here = await Promise.all(commits.map(isHere));
      const descends = await ancestry.descendants(
        ancestor,
        commits.filter((_, i) => here[i]),
      );
      return commits.map((commit, i) => (here[i] ? descends(commit) : undefined));
    },
  };
}
