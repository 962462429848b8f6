import { LRUCache } from 'lru-cache';
import { MemoirError, messageOf } from '../../domain/errors.js';
import { inTurns } from '../../threads/in-turns.js';
import type { Call } from '../../threads/methods.js';
import { serveThread } from '../../threads/serve-thread.js';
import type { Layout } from '../layout.js';
import { parseTag } from '../objects/commit.js';
import { longestTagChain } from '../objects/object.js';
import { rawId } from '../objects/object-id.js';
import { type ObjectStore, openObjectStore } from '../objects/object-store.js';
import { createPageCache } from '../objects/paged-file.js';
import { damaged, unavailable } from '../problem.js';
import { readShallow } from '../reader/shallow.js';
import { openRefs, type Ref } from '../refs.js';
import { type CommitMemory, createCommitMemory } from './commit-memory.js';
import { type MessageSearch, searchMessages } from './search-messages.js';

// The thread that searches in messages, so that a search holds up nobody who looks a name up.

/** Bytes of pages that are kept of all packs and indexes together. */
const pageBytes = 32 * 1024 * 1024;

/** Bytes of commits that are remembered between searches, of all repositories together: those of the two million that a search looks at. */
const rememberedBytes = 256 * 1024 * 1024;

/** Without starts, from all refs. */
type Search = Pick<MessageSearch, 'search' | 'limit'> & {
  readonly layout: Layout;
  readonly starts: readonly string[] | undefined;
};

function open() {
  const pages = createPageCache(pageBytes);
  const memories = new LRUCache<string, CommitMemory>({
    maxSize: rememberedBytes,
    sizeCalculation: (memory) => memory.bytes(),
  });

  async function search({ layout, starts, ...wanted }: Search, call: Call) {
    const { name, hash, objectDir } = layout;
    const objects = openObjectStore({ repository: name, directory: objectDir, hash, pages });
    const memory = memories.get(objectDir) ?? createCommitMemory(name, hash);
    function* steps() {
      const from = starts ?? commitsOfRefs(layout, objects, memory, yield* listRefs(layout));
      return yield* searchMessages(memory, { ...wanted, objects, starts: from, shallow: readShallow(layout) });
    }
    try {
      return await inTurns(steps(), call);
    } catch (error) {
      throw error instanceof MemoirError || call.signal.aborted ? error : unavailable(name, messageOf(error), error);
    } finally {
      memories.set(objectDir, memory);
      objects.close();
    }
  }

  return { search };
}

function* listRefs(layout: Layout): Generator<undefined, Ref[]> {
  const refs = openRefs(layout, Date.now);
  try {
    return yield* refs.list();
  } finally {
    refs.close();
  }
}

/** Of commits of the same date git looks first at HEAD, then at the refs from the last to the first. */
function* commitsOfRefs(
  layout: Layout,
  objects: ObjectStore,
  memory: CommitMemory,
  refs: readonly Ref[],
): Generator<string | undefined> {
  const isHead = ({ name }: Ref) => name === 'HEAD';
  for (const { id } of refs.filter(isHead)) yield commitOf(layout, objects, memory, id);
  for (let i = refs.length - 1; i >= 0; i--) {
    const ref = refs[i] as Ref;
    if (!isHead(ref)) yield commitOf(layout, objects, memory, ref.id);
  }
}

/** The commit that an object is, or comes to if it is a tag; undefined for any other, and for what is missing or damaged. */
function commitOf({ name, hash }: Layout, objects: ObjectStore, memory: CommitMemory, id: string): string | undefined {
  const number = memory.numberOf(id);
  const known = memory.tagged(number);
  if (known !== undefined) return memory.idOf(known);
  if (memory.has(number)) return id;
  try {
    let at = id;
    for (let depth = 0; depth <= longestTagChain; depth++) {
      const raw = Buffer.from(at, 'hex');
      const object = objects.readFleeting(raw);
      if (object?.type === 'commit') {
        const commit = memory.numberOf(at);
        if (!memory.has(commit) && !memory.take(commit, object.data)) return undefined;
        if (commit !== number) memory.noteTag(number, commit);
        return at;
      }
      if (object?.type !== 'tag' || !rawId(hash, 'tag', object.data).equals(raw)) return undefined;
      at = parseTag(object.data, hash.hex, (what) => damaged(name, what));
    }
  } catch (error) {
    if (!(error instanceof MemoirError) || error.code !== 'DATA_LOSS') throw error;
  }
  return undefined;
}

/** The thread's type. */
export type SearchThread = typeof open;

serveThread(open);
