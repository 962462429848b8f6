import { createHash } from 'node:crypto';
import { MemoirError, quote } from '../../domain/errors.js';
import { growingTree } from '../../domain/log-tree/growing-tree.js';
import { leafHash } from '../../domain/log-tree/leaf.js';
import { type EventLog, type Position, type RecordedEvent, start } from '../port.js';
import {
  BadLine,
  checkExportable,
  type ExportHeader,
  type ExportTrailer,
  eventLine,
  headerLine,
  trailerLine,
} from './format.js';
import { logOrder } from './log-order.js';

/** How far an export or import has come. */
export type Progress = {
  readonly events: number;
  readonly position: Position;
};

/** Who is told of an export. */
export type ExportListeners = {
  /** Called after every batch of events. */
  readonly onProgress?: (progress: Progress) => void;
  /** Called with what the last line says, before it is given, and how many marks of the store itself were left out. */
  readonly onEnd?: (trailer: ExportTrailer, leftOut: number) => void;
};

/** Bytes that are gathered before they are given. */
const chunkSize = 256 * 1024;

/**
 * The log as the bytes of a file (docs/export.md), up to where it ends now. Takes the next events from the log only when the bytes
 * before are taken, so that the memory that it takes does not grow with the log.
 * @throws MemoirError INVALID_ARGUMENT naming the event if the log holds what an import would refuse; what reading the log throws
 */
export async function* exportOf(
  log: EventLog,
  header: ExportHeader,
  { onProgress, onEnd }: ExportListeners = {},
): AsyncGenerator<Buffer> {
  const bytes = createHash('sha256');
  const tree = growingTree();
  const order = logOrder();
  let lines: string[] = [];
  let characters = 0;
  let position: Position = start;
  let leftOut = 0;

  function add(line: string): void {
    lines.push(line, '\n');
    characters += line.length + 1;
  }

  function gathered(): Buffer {
    const chunk = Buffer.from(lines.join(''));
    lines = [];
    characters = 0;
    bytes.update(chunk);
    return chunk;
  }

  function addEvent(event: RecordedEvent): void {
    const line = eventLine(event);
    try {
      checkExportable(event, line);
      order.check(event);
    } catch (error) {
      if (!(error instanceof BadLine)) throw error;
      const which = `event ${event.revision} of stream ${quote(event.stream)}, at position ${event.position},`;
      throw new MemoirError('INVALID_ARGUMENT', 'NOT_EXPORTABLE', `${which} cannot be exported: ${error.message}`);
    }
    tree.add(leafHash(event));
    add(line);
    position = event.position;
  }

  try {
    const end = await log.end();
    add(headerLine(header));
    for await (const { events, live } of end === start ? [] : log.subscribeAll()) {
      for (const event of events) {
        if (event.position > end) break;
        // The marks of the store itself, as of a stream that was deleted, are no events, and nothing comes behind them.
        if (event.type.startsWith('$')) {
          leftOut++;
          continue;
        }
        addEvent(event);
        if (characters >= chunkSize) yield gathered();
      }
      onProgress?.({ events: tree.size(), position });
      if (live || position >= end) break;
    }
    if (characters > 0) yield gathered();
    const trailer: ExportTrailer = {
      events: tree.size(),
      lastPosition: position,
      root: tree.root().toString('base64'),
      sha256: bytes.digest('hex'),
    };
    onEnd?.(trailer, leftOut);
    yield Buffer.from(`${trailerLine(trailer)}\n`);
  } finally {
    order.close();
  }
}
