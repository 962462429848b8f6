import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { growingTree } from '../../domain/log-tree/growing-tree.js';
import { leafHash } from '../../domain/log-tree/leaf.js';
import { type Position, type RecordedEvent, start } from '../port.js';
import { decompressed } from './compression.js';
import { BadLine, type ExportHeader, type ExportTrailer, headerFrom, lineFrom } from './format.js';
import { linesOf } from './lines.js';
import { logOrder } from './log-order.js';

/** Events that a file gives at once. */
export type ExportBatch = {
  readonly events: readonly RecordedEvent[];
  /** Hash of each event in the tree over the log. */
  readonly hashes: readonly Buffer[];
  /** Number of the line of the first event, from 1. */
  readonly line: number;
};

/** What a file says of itself, when all of it was read and found to be so. */
export type ExportSummary = { readonly header: ExportHeader; readonly trailer: ExportTrailer };

/** How a file is read. */
export type ReadExportOptions = {
  /** What messages call the file; its path in quotes, or "the export". */
  readonly name?: string;
  /** Called when the end was reached and the trailer agrees with everything before it. */
  readonly onEnd?: (summary: ExportSummary) => void;
};

/** Most events in a batch, and characters of data and metadata after which it takes no further one. */
const batchSize = 1_000;
const batchCharacters = 8 * 1024 * 1024;

/**
 * Reads an export of a log, compressed or not, and gives its events in their order. Every line is checked before its event is given,
 * also that it follows those before it. Whether the file is whole and unaltered shows only at its end: what was given is to be
 * believed once the iteration has ended without an error. The memory that it takes does not grow with the file.
 * @param source - a path, or the bytes of a file
 * @throws MemoirError INVALID_ARGUMENT naming the line that is wrong; what reading the source throws
 */
export async function* readExport(
  source: string | AsyncIterable<Uint8Array>,
  { name = typeof source === 'string' ? quote(source) : 'the export', onEnd }: ReadExportOptions = {},
): AsyncGenerator<ExportBatch> {
  const chunks = typeof source === 'string' ? createReadStream(source, { highWaterMark: 256 * 1024 }) : source;
  // Lines that were read; the one after them is being read.
  let lines = 0;
  const reader = lineReader();
  try {
    let batch = newBatch(2);
    for await (const some of linesOf(decompressed(chunks))) {
      for (const line of some) {
        const read = reader.take(line);
        lines++;
        if (!read) continue;
        batch.events.push(read.event);
        batch.hashes.push(read.hash);
        batch.characters += read.event.data.length + read.event.metadata.length;
        if (batch.events.length < batchSize && batch.characters < batchCharacters) continue;
        yield batch;
        batch = newBatch(lines + 1);
      }
    }
    const summary = reader.end();
    if (batch.events.length > 0) yield batch;
    onEnd?.(summary);
  } catch (error) {
    if (error instanceof BadLine) throw badExport(`line ${lines + 1} of ${name}: ${error.message}`);
    const code = codeOf(error);
    if (code !== undefined && /^(Z_|ZSTD_|ERR_ZSTD)/.test(code)) {
      throw badExport(`${name} is damaged or cut off after line ${lines}: ${(error as Error).message}`, error);
    }
    throw error;
  } finally {
    reader.close();
  }
}

function newBatch(line: number) {
  return { events: [] as RecordedEvent[], hashes: [] as Buffer[], characters: 0, line };
}

/** What the lines of a file come to, one after the other. */
function lineReader() {
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const bytes = createHash('sha256');
  const tree = growingTree();
  const order = logOrder();
  let header: ExportHeader | undefined;
  let trailer: ExportTrailer | undefined;
  let position: Position = start;

  function textOf(line: Buffer): string {
    try {
      return utf8.decode(line);
    } catch {
      throw new BadLine(header ? 'it is not UTF-8' : 'this is no export of a Memoir log');
    }
  }

  function count(line: Buffer): void {
    bytes.update(line);
    bytes.update('\n');
  }

  function checkTrailer(found: ExportTrailer): void {
    const compare = (what: string, there: string | number, said: string | number) => {
      if (there !== said) {
        throw new BadLine(`the file is altered: its trailer says ${what} ${said}, and what stands there has ${there}`);
      }
    };
    compare('events', tree.size(), found.events);
    compare('last_position', position, found.lastPosition);
    compare('root', tree.root().toString('base64'), found.root);
    compare('sha256', bytes.digest('hex'), found.sha256);
  }

  return {
    /** The event of the next line; undefined if it has another meaning. */
    take(line: Buffer): { event: RecordedEvent; hash: Buffer } | undefined {
      if (trailer) throw new BadLine('something follows the trailer');
      const text = textOf(line);
      if (!header) {
        header = headerFrom(text);
        count(line);
        return undefined;
      }
      const read = lineFrom(text);
      if ('trailer' in read) {
        checkTrailer(read.trailer);
        trailer = read.trailer;
        return undefined;
      }
      const { event } = read;
      order.check(event);
      count(line);
      const hash = leafHash(event);
      tree.add(hash);
      position = event.position;
      return { event, hash };
    },
    end(): ExportSummary {
      if (!header) throw new BadLine('the file is empty');
      if (!trailer) throw new BadLine('the file ends here, without a trailer: it is cut off');
      return { header, trailer };
    },
    close: () => order.close(),
  };
}

function badExport(message: string, cause?: unknown): MemoirError {
  if (cause === undefined) return invalid('file', 'BAD_EXPORT', message);
  return new MemoirError('INVALID_ARGUMENT', 'BAD_EXPORT', message, { field: 'file', cause });
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
