import TinyQueue from 'tinyqueue';
import { MemoirError } from '../../domain/errors.js';
import { messageOf } from '../objects/commit.js';
import { compileSearch } from '../refspec/message-pattern.js';
import type { TextSearch } from '../refspec/text-search.js';
import type { ObjectReader } from './object-reader.js';

/** Where a search in messages starts, and how far it goes. */
export type MessageSearch = {
  readonly search: TextSearch;
  /** Commits or tags to start from; what is neither, or missing, is passed over if there are several. */
  readonly starts: readonly string[];
  /** Most commits to look at. */
  readonly limit: number;
};

/** What a search found: a commit, that there is none, or that there was none as far as it went. */
export type MessageFound = { readonly commit?: string; readonly exhausted?: true };

type Waiting = { readonly id: string; readonly date: number; readonly order: number };

/**
 * Searches for the youngest commit with a message, in the order of git's `get_oid_oneline`: by commit date, and at the same date
 * in the order in which they were met. What is damaged is passed over with what only it leads to, as git does. Yields after each commit, so that a long search can be taken in turns with others.
 */
export function* searchMessages(
  reader: ObjectReader,
  { search, starts, limit }: MessageSearch,
): Generator<undefined, MessageFound> {
  const test = compileSearch(search);
  if ('problem' in test) return {};
  const waiting = new TinyQueue<Waiting>([], (a, b) => b.date - a.date || a.order - b.order);
  const seen = new Set<string>();
  let order = 0;
  const meet = (id: string) => {
    if (seen.has(id)) return;
    seen.add(id);
    const commit = sound(() => reader.commit(id));
    if (commit) waiting.push({ id, date: commit.date, order: order++ });
  };
  for (const start of starts) {
    const peeled = sound(() => reader.peel(start));
    if (peeled?.type === 'commit') meet(peeled.id);
    yield;
  }
  for (let looked = 0; ; looked++) {
    const next = waiting.pop();
    if (!next) return {};
    if (looked === limit) return { exhausted: true };
    const { data, parents } = reader.commit(next.id);
    if (test(messageOf(data))) return { commit: next.id };
    for (const parent of parents) meet(parent);
    yield;
  }
}

/** What is read, unless that is damaged or missing: like git, a search passes over it, so that one bad commit does not end them all. */
function sound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof MemoirError && error.code === 'DATA_LOSS') return undefined;
    throw error;
  }
}
