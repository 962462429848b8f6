import type { CodeEntry } from '../../domain/code/code-digest.js';
import { MemoirError, messageOf } from '../../domain/errors.js';
import { inTurns } from '../../threads/in-turns.js';
import type { Call } from '../../threads/methods.js';
import { serveThread } from '../../threads/serve-thread.js';
import { type ChangesQuery, changedPaths } from '../code/changed-paths.js';
import { type CodeQuery, codeAt } from '../code/code-at.js';
import { firstDifference } from '../code/first-difference.js';
import { type CodeObjects, codeObjects } from '../code/objects.js';
import { type EndsOnDisk, rangeOnDisk } from '../graph/on-disk/range-on-disk.js';
import { type Layout, whyMissing } from '../layout.js';
import { createPageCache } from '../objects/paged-file.js';
import { damaged, unavailable } from '../problem.js';
import { findScript } from './find-script.js';
import { type Abbreviated, type ObjectReader, openObjectReader } from './object-reader.js';
import { isPlainCommit } from './plain-commit.js';
import { rangeBesideDamage } from './range-beside-damage.js';

// The thread that reads objects, so that a slow disk never holds up the thread that answers calls.

/** Bytes of pages that are kept of all packs and indexes together. */
const pageBytes = 32 * 1024 * 1024;

/** What is asked of one repository. */
type Of<Ask> = Ask & { readonly layout: Layout };

/** A commit of a walk. */
export type WalkedCommit = { readonly id: string; readonly parents: readonly string[]; readonly date: number };

/** A repository whose objects are read. */
type Reading = {
  readonly reader: ObjectReader;
  /** How many are asked of it now. */
  questions: number;
  /** Whether its files are to be let go of. */
  forgotten: boolean;
};

type WalkFrom = { readonly starts: readonly string[]; readonly limit: number };

function open() {
  const pages = createPageCache(pageBytes);
  const readers = new Map<string, Reading>();

  function readingOf(layout: Layout): Reading {
    let reading = readers.get(layout.objectDir);
    if (!reading) {
      reading = { reader: openObjectReader(layout, pages), questions: 0, forgotten: false };
      readers.set(layout.objectDir, reading);
    }
    return reading;
  }

  function closeForgotten({ reader, questions, forgotten }: Reading): void {
    if (forgotten && questions === 0) reader.close();
  }

  /** Asks a repository; whatever goes wrong names it. */
  async function ask<T>(
    layout: Layout,
    { signal }: Call,
    question: (reader: ObjectReader) => T | Promise<T>,
  ): Promise<T> {
    let reading: Reading | undefined;
    try {
      reading = readingOf(layout);
      reading.questions++;
      return await question(reading.reader);
    } catch (error) {
      throw error instanceof MemoirError || signal.aborted ? error : unavailable(layout.name, messageOf(error), error);
    } finally {
      if (reading) {
        reading.questions--;
        closeForgotten(reading);
      }
    }
  }

  return {
    peel: ({ layout, id }: Of<{ id: string }>, call: Call) => ask(layout, call, (reader) => reader.peel(id)),
    typeOf: ({ layout, id }: Of<{ id: string }>, call: Call) => ask(layout, call, (reader) => reader.typeOf(id)),
    parents: ({ layout, id }: Of<{ id: string }>, call: Call) =>
      ask(layout, call, (reader) => reader.commit(id).parents),
    abbreviated: ({ layout, prefix, kind }: Of<{ prefix: string; kind: Abbreviated }>, call: Call) =>
      ask(layout, call, (reader) => reader.abbreviated(prefix, kind)),
    /** The n-th first parent; undefined where history ends before. */
    ancestor: ({ layout, id, generations }: Of<{ id: string; generations: number }>, call: Call) =>
      ask(layout, call, (reader) => inTurns(ancestor(reader, id, generations), call)),
    /** Commits from the given ones on, breadth first, at most `limit` of them. */
    walk: ({ layout, ...from }: Of<WalkFrom>, call: Call) =>
      ask(layout, call, (reader) => inTurns(walk(reader, from), call)),
    /** See `isPlainCommit`. */
    plain: ({ layout, commit }: Of<{ commit: string }>, call: Call) =>
      ask(layout, call, (reader) => inTurns(isPlainCommit(reader, layout.hash, commit), call)),
    /** See `findScript`. */
    script: ({ layout, commit, script }: Of<{ commit: string; script: string }>, call: Call) =>
      ask(layout, call, (reader) => inTurns(findScript(reader, layout.hash, commit, script), call)),
    /** See `codeAt`. */
    code: ({ layout, ...query }: Of<CodeQuery>, call: Call) =>
      ask(layout, call, (reader) => inTurns(codeAt(objectsOf(layout, reader), query), call)),
    /** See `firstDifference`. */
    codeDifference: ({ layout, one, other }: Of<{ one: CodeEntry; other: CodeEntry }>, call: Call) =>
      ask(layout, call, (reader) => inTurns(firstDifference(objectsOf(layout, reader), one, other), call)),
    /** See `changedPaths`. */
    changes: ({ layout, ...query }: Of<ChangesQuery>, call: Call) =>
      ask(layout, call, (reader) => inTurns(changedPaths(objectsOf(layout, reader), query), call)),
    /** See `rangeOnDisk`. */
    range: ({ layout, ...ends }: Of<EndsOnDisk>, call: Call) =>
      ask(layout, call, () => rangeOnDisk(layout, ends, (steps) => inTurns(steps, call))),
    /** See `rangeBesideDamage`. */
    rangeBesideDamage: ({ layout, tip, base }: Of<{ tip: string; base: string }>, call: Call) =>
      ask(layout, call, (reader) => inTurns(rangeBesideDamage(reader.commit, tip, base, layout.hash.bytes), call)),
    /** Lets go of the files of a repository, once what is asked of it now is answered. */
    forget({ layout }: { layout: Layout }): void {
      const reading = readers.get(layout.objectDir);
      if (!reading) return;
      readers.delete(layout.objectDir);
      reading.forgotten = true;
      closeForgotten(reading);
    },
    close() {
      for (const { reader } of readers.values()) reader.close();
    },
  };
}

function objectsOf(layout: Layout, reader: ObjectReader): CodeObjects {
  return codeObjects(reader, layout.hash, (what) => damaged(layout.name, `${what}${whyMissing(layout)}`));
}

function* ancestor(reader: ObjectReader, id: string, generations: number): Generator<undefined, string | undefined> {
  let at: string | undefined = id;
  for (let i = 0; i < generations && at !== undefined; i++) {
    at = reader.commit(at).parents[0];
    yield;
  }
  return at;
}

function* walk(reader: ObjectReader, { starts, limit }: WalkFrom): Generator<undefined, readonly WalkedCommit[]> {
  const met = new Set(starts);
  const walked: WalkedCommit[] = [];
  for (const id of met) {
    if (walked.length === limit) break;
    const { parents, date } = reader.commit(id);
    walked.push({ id, parents, date });
    for (const parent of parents) met.add(parent);
    yield;
  }
  return walked;
}

/** The thread's type. */
export type ReaderThread = typeof open;

serveThread(open);
