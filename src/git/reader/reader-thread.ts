import { setImmediate as turn } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import { MemoirError } from '../../domain/errors.js';
import type { Layout } from '../layout.js';
import { createPageCache } from '../objects/paged-file.js';
import { unavailable } from '../problem.js';
import { openRefs, type Ref } from '../refs.js';
import { type ObjectReader, openObjectReader } from './object-reader.js';
import { isPlainCommit } from './plain-commit.js';
import type { ReaderReply, ReaderRequest, WalkedCommit } from './reader-protocol.js';
import type { searchMessages } from './search-messages.js';
import { packError } from './sent-error.js';

// The thread that reads objects, so that a slow disk or a long search never holds up the thread that answers calls.

/** Bytes of pages that are kept of all packs and indexes together. */
const pageBytes = 32 * 1024 * 1024;

/** How long one request is worked on before others have their turn, in milliseconds. */
const slice = 10;

const pages = createPageCache(pageBytes);
const readers = new Map<string, ObjectReader>();

type Request = Exclude<ReaderRequest, 'close'>;

function readerOf({ layout }: Request): ObjectReader {
  let reader = readers.get(layout.objectDir);
  if (!reader) {
    reader = openObjectReader(layout, pages);
    readers.set(layout.objectDir, reader);
  }
  return reader;
}

/** Of commits of the same date git looks first at HEAD, then at the refs from the last to the first. */
function allRefs(layout: Layout): string[] {
  const refs = openRefs(layout, Date.now);
  try {
    const list = refs.list();
    const isHead = ({ name }: Ref) => name === 'HEAD';
    return [...list.filter(isHead), ...list.filter((ref) => !isHead(ref)).reverse()].map(({ id }) => id);
  } finally {
    refs.close();
  }
}

/** The search is loaded when it is first asked for: its library takes a third of the time that the thread takes to start. */
async function loadSearch(): Promise<typeof searchMessages> {
  return (await import('./search-messages.js')).searchMessages;
}

function* answer(
  reader: ObjectReader,
  request: Request,
  search: typeof searchMessages | undefined,
): Generator<undefined, unknown> {
  const { question, ask } = request;
  switch (question) {
    case 'peel':
      return reader.peel(ask.id);
    case 'typeOf':
      return reader.typeOf(ask.id);
    case 'parents':
      return reader.commit(ask.id).parents;
    case 'abbreviated':
      return reader.abbreviated(ask.prefix);
    case 'search':
      return search && (yield* search(reader, { ...ask, starts: ask.starts ?? allRefs(request.layout) }));
    case 'ancestor': {
      let at: string | undefined = ask.id;
      for (let i = 0; i < ask.generations && at !== undefined; i++) {
        at = reader.commit(at).parents[0];
        yield;
      }
      return at;
    }
    case 'walk':
      return yield* walk(reader, ask);
    case 'plain':
      return yield* isPlainCommit(reader, request.layout.hash, ask.commit);
  }
}

function* walk(
  reader: ObjectReader,
  { starts, limit }: { starts: readonly string[]; limit: number },
): Generator<undefined, WalkedCommit[]> {
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

async function serve(request: Request): Promise<void> {
  let reply: ReaderReply;
  try {
    const search = request.question === 'search' ? await loadSearch() : undefined;
    const steps = answer(readerOf(request), request, search);
    let until = performance.now() + slice;
    let step = steps.next();
    while (!step.done) {
      if (performance.now() > until) {
        await turn();
        until = performance.now() + slice;
      }
      step = steps.next();
    }
    reply = { number: request.number, answer: step.value };
  } catch (error) {
    const told =
      error instanceof MemoirError
        ? error
        : unavailable(request.layout.name, error instanceof Error ? error.message : String(error), error);
    reply = { number: request.number, error: packError(told) };
  }
  parentPort?.postMessage(reply);
}

parentPort?.on('message', (request: ReaderRequest) => {
  if (request !== 'close') {
    void serve(request);
    return;
  }
  for (const reader of readers.values()) reader.close();
  parentPort?.close();
});
