import TinyQueue from 'tinyqueue';
import { compileSearch } from '../refspec/message-pattern.js';
import type { TextSearch } from '../refspec/text-search.js';
import type { CommitMemory, CommitObjects } from './commit-memory.js';

/** Where a search in messages starts, and how far it goes. */
export type MessageSearch = {
  readonly objects: CommitObjects;
  readonly search: TextSearch;
  /** Ids of the commits to start from; undefined for what turned out to be none. */
  readonly starts: Iterable<string | undefined>;
  /** Most commits to look at. */
  readonly limit: number;
  /** Ids of the commits behind which the history is cut off. */
  readonly shallow: ReadonlySet<string>;
};

/** What a search found: a commit, that there is none, or that there was none as far as it went. */
export type MessageFound = { readonly commit?: string; readonly exhausted?: true };

type Waiting = { readonly number: number; readonly date: number; readonly order: number };

const younger = (a: Waiting, b: Waiting) => b.date - a.date || a.order - b.order;

/**
 * Searches for the youngest commit with a message, in the order of git's `get_oid_oneline`: by commit date, and at the same date
 * in the order in which they were met. What is damaged is passed over with what only it leads to, as git does. Yields after each
 * commit, so that a long search can be taken in turns with others.
 */
export function* searchMessages(
  memory: CommitMemory,
  { objects, search, starts, limit, shallow }: MessageSearch,
): Generator<undefined, MessageFound> {
  const test = compileSearch(search);
  if ('problem' in test) return {};
  const met = new TinyQueue<Waiting>([], younger);
  let seen = new Uint8Array(1024);
  let order = 0;
  const cut = new Set(Array.from(shallow, memory.numberOf));

  const meet = (number: number): Waiting | undefined => {
    if (number >= seen.length) {
      const longer = new Uint8Array(Math.max(number + 1, seen.length * 2));
      longer.set(seen);
      seen = longer;
    }
    if (seen[number]) return undefined;
    seen[number] = 1;
    return memory.read(number, objects) ? { number, date: memory.date(number), order: order++ } : undefined;
  };
  const first: Waiting[] = [];
  for (const start of starts) {
    const waiting = start === undefined ? undefined : meet(memory.numberOf(start));
    if (waiting) first.push(waiting);
    yield;
  }
  // There may be as many starts as refs, and hardly any others at a time: in a queue of their own they do not make that one long.
  const begun = new TinyQueue(first, younger);
  const take = () => {
    const [start, other] = [begun.peek(), met.peek()];
    return start && (!other || younger(start, other) < 0) ? begun.pop() : met.pop();
  };
  for (let looked = 0; ; looked++) {
    const next = take();
    if (!next) return {};
    if (looked === limit) return { exhausted: true };
    if (test(memory.message(next.number, objects))) return { commit: memory.idOf(next.number) };
    if (!cut.has(next.number)) {
      for (const parent of memory.parents(next.number)) {
        const waiting = meet(parent);
        if (waiting) met.push(waiting);
      }
    }
    yield;
  }
}
