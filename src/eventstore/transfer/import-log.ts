import { MemoirError, quote } from '../../domain/errors.js';
import { growingTree } from '../../domain/log-tree/growing-tree.js';
import { leafHash } from '../../domain/log-tree/leaf.js';
import { decodeEvent, eventTypes } from '../codec.js';
import { foreignEnvelope, whyForeign } from '../foreign.js';
import type { LogImporter } from '../importer.js';
import { type EventLog, type RecordedEvent, StoreUnreadable, start } from '../port.js';
import type { ExportFile } from './open-export.js';
import { type ExportSummary, readExport } from './read-export.js';
import type { Progress } from './write-export.js';

/** What an import does, one after the other. */
export type ImportStep = 'verify' | 'record' | 'compare';

/** What an import found and did. */
export type Imported = ExportSummary & {
  /** Events that the store had before. */
  readonly there: number;
  /** Events that were recorded. */
  readonly recorded: number;
};

/** Told how far each step has come. */
export type OnImportProgress = (step: ImportStep, progress: Progress) => void;

const known = new Set(eventTypes);

/**
 * Records a log in a store that is empty or holds its beginning, and then reads the store to its end and compares the root of the
 * tree over it with that of the file. Before anything is recorded the whole file is read and checked. Without an importer that is
 * all that is done.
 * @throws MemoirError INVALID_ARGUMENT naming the line of the file that is wrong; FAILED_PRECONDITION naming the first event of
 * the store that is not of this log; ABORTED if something else wrote to the store meanwhile; what the store throws
 */
export async function importLog(
  file: ExportFile,
  importer: LogImporter | undefined,
  onProgress: OnImportProgress = () => undefined,
): Promise<Imported> {
  const found = await verify(file, importer, onProgress);
  const { events } = found.trailer;
  const recorded = events - found.there;
  if (importer) {
    if (recorded > 0) {
      await recordFrom(file, importer, found.there, onProgress);
      await compare(importer.log, found, onProgress);
    }
    await importer.finish();
  }
  return { ...found, recorded: importer ? recorded : 0 };
}

async function verify(
  file: ExportFile,
  importer: LogImporter | undefined,
  onProgress: OnImportProgress,
): Promise<ExportSummary & { there: number }> {
  const there = importer && beginningOf(importer);
  const end: { summary?: ExportSummary } = {};
  let events = 0;
  for await (const batch of readExport(file.bytes(), {
    name: file.name,
    onEnd: (summary) => (end.summary = summary),
  })) {
    for (const [i, event] of batch.events.entries()) {
      const where = `line ${batch.line + i} of ${file.name}`;
      refuseUnreadable(where, event);
      refuseUnstorable(where, event, importer);
      if (there?.goesOn()) await there.take(where, event, batch.hashes[i] as Buffer);
    }
    events += batch.events.length;
    onProgress('verify', { events, position: batch.events.at(-1)?.position ?? start });
  }
  if (!end.summary) throw new Error(`${file.name} ended without a summary`);
  return { ...end.summary, there: (await there?.end(file.name)) ?? 0 };
}

/**
 * An event of a known type that is malformed, also in what only explains it, or stands where it cannot. What others wrote, by its metadata,
 * is kept: every reader passes it over, but its revision counts.
 */
function refuseUnreadable(where: string, event: RecordedEvent): void {
  if (!known.has(event.type)) return;
  const refuse = (why: string) => {
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_EXPORT', `${where}: ${why}`, { field: 'file' });
  };
  try {
    decodeEvent(event);
  } catch (error) {
    if (!(error instanceof StoreUnreadable)) throw error;
    refuse(error.message);
  }
  const why = foreignEnvelope(event) === undefined ? whyForeign(event) : undefined;
  if (why !== undefined) refuse(`${nameOf(event)} is none of Memoir's: ${why}`);
}

function refuseUnstorable(where: string, event: RecordedEvent, importer: LogImporter | undefined): void {
  try {
    importer?.check(event);
  } catch (error) {
    const why = `the store could not give the event back as it is: ${(error as Error).message}`;
    throw new MemoirError('INVALID_ARGUMENT', 'NOT_IMPORTABLE', `${where}: ${why}`, { field: 'file', cause: error });
  }
}

/** Compares what the store holds with the events of the file, one after the other. */
function beginningOf({ log, keepsPositions }: LogImporter) {
  const events = log.readAll()[Symbol.asyncIterator]();
  let count = 0;
  let over = false;

  async function next(): Promise<RecordedEvent | undefined> {
    if (over) return undefined;
    const { value, done } = await events.next();
    over = done === true;
    return over ? undefined : value;
  }

  return {
    /** Whether the store may hold more events. */
    goesOn: () => !over,
    async take(where: string, event: RecordedEvent, hash: Buffer): Promise<void> {
      const stored = await next();
      if (!stored) return;
      const same = leafHash(stored).equals(hash) && (!keepsPositions || stored.position === event.position);
      if (!same)
        throw differs(`${nameOf(stored)}, and ${where} has ${nameOf(event)}, or the two differ in what they hold`);
      count++;
    },
    /** How many events the store has. */
    async end(file: string): Promise<number> {
      const stored = await next();
      if (stored) throw differs(`${nameOf(stored)}, and ${file} ends before it`);
      return count;
    },
  };

  function differs(what: string): MemoirError {
    const message = `the store holds another log: its event number ${count + 1} is ${what}; nothing was recorded`;
    return new MemoirError('FAILED_PRECONDITION', 'LOG_DIFFERS', message);
  }
}

function nameOf({ position, stream, revision, id }: RecordedEvent): string {
  return `event ${revision} of stream ${quote(stream)} (${id}) at position ${position}`;
}

async function recordFrom(
  file: ExportFile,
  importer: LogImporter,
  there: number,
  onProgress: OnImportProgress,
): Promise<void> {
  let events = 0;
  for await (const batch of readExport(file.bytes(), { name: file.name })) {
    const rest = batch.events.slice(Math.max(0, there - events));
    events += batch.events.length;
    if (rest.length > 0) await importer.record(rest);
    onProgress('record', { events, position: batch.events.at(-1)?.position ?? start });
  }
}

/** What was sent is one thing, what the store has another. */
async function compare(log: EventLog, { trailer }: ExportSummary, onProgress: OnImportProgress): Promise<void> {
  const tree = growingTree();
  for await (const { events, position, live } of log.subscribeAll()) {
    for (const event of events) tree.add(leafHash(event));
    onProgress('compare', { events: tree.size(), position });
    if (live) break;
  }
  const root = tree.root().toString('base64');
  if (tree.size() === trailer.events && root === trailer.root) return;
  throw new MemoirError(
    'ABORTED',
    'IMPORT_DISTURBED',
    `the store has ${tree.size()} events with root ${root} now, and the file ${trailer.events} with root ${trailer.root}: ` +
      'something else wrote to the store, or it has recorded events in another order; remove its data and import again',
  );
}
