import { systemEdge } from '../../edge.js';
import { openLogToExport, storeKind } from '../../eventstore/open-store.js';
import { compressionByName } from '../../eventstore/transfer/compression.js';
import type { ExportTrailer } from '../../eventstore/transfer/format.js';
import { exportOf } from '../../eventstore/transfer/write-export.js';
import { writeFile, writeStream } from '../../eventstore/transfer/write-file.js';
import { serverVersion } from '../../version.js';
import { stopSignal } from '../server/stop-signals.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { eventCount, progressLine } from '../text/progress-line.js';
import { logStore, meant } from './log-store.js';
import type { StoreOptions } from './store-options.js';

/** Options of `memoir export`. */
export type ExportOptions = StoreOptions & {
  readonly compress?: 'none' | 'gzip' | 'zstd';
  readonly force?: boolean;
  readonly json?: boolean;
};

/**
 * Writes the log of a store to a file, or to standard output for "-".
 * @throws MemoirError if the store cannot be read, or the file cannot be written or exists
 */
export async function runExport(file: string, options: ExportOptions): Promise<void> {
  const { url } = await logStore(options);
  const kind = storeKind(url);
  const toFile = file !== '-';
  const compression = options.compress ?? (toFile ? compressionByName(file) : 'none');
  const signal = stopSignal(() => note('stopping; nothing of the file is kept'));
  const line = await progressLine('opening the log', systemEdge.monotonic);
  const end: { trailer?: ExportTrailer } = {};
  try {
    await meant(async () => {
      const log = await openLogToExport(url, systemEdge, note);
      try {
        const exportedAt = new Date(systemEdge.now()).toISOString();
        const bytes = exportOf(
          log,
          { store: kind, serverVersion, exportedAt },
          {
            onProgress: ({ events }) => line.set(`${eventCount(events)} exported`),
            onEnd: (trailer) => {
              end.trailer = trailer;
            },
          },
        );
        const how = { compression, signal };
        if (toFile) await writeFile(file, bytes, { ...how, force: options.force ?? false, unique: systemEdge.uuid() });
        else await writeStream(process.stdout, bytes, how);
      } finally {
        await log.close();
      }
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = 130;
    return;
  } finally {
    line.stop();
  }
  const { trailer } = end;
  if (!trailer) throw new Error('the export ended without a trailer');
  const { events, lastPosition, root } = trailer;
  const where = toFile ? file : 'standard output';
  if (options.json) {
    const said = JSON.stringify({ file: where, store: kind, events, last_position: lastPosition, root });
    if (toFile) await printLine(said);
    else note(said);
  } else note(`${eventCount(events)} exported to ${printable(where)}, up to position ${lastPosition}; root ${root}`);
}
