import { type Sources, serverSettings } from '../../config/settings.js';
import { MemoirError } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { LogRefused, StoreUnreachable } from '../../eventstore/port.js';
import { type RunningServer, startServer } from '../../main.js';
import type { Accepted } from '../../serving/open-log.js';
import { note, printLine } from '../text/output.js';
import { openLogger } from './logger.js';
import { aborted, stopSignal } from './stop-signals.js';

/** How long a server that has stopped may take to let go of the process, in milliseconds. */
const lingering = 2_000;

/**
 * Runs a server as the settings say, until a signal ends it. Prints its address when it answers.
 * @throws MemoirError INVALID_ARGUMENT if a setting is wrong, or if the server cannot start; UNAVAILABLE if its store cannot be reached; DATA_LOSS if its log is not what it was
 */
export async function runServer(sources: Sources, accepted: Accepted): Promise<void> {
  const config = await serverSettings(sources);
  const logger = openLogger(config.log_level);
  const stop = stopSignal((signal) => logger.info({ signal }, 'stopping; the same signal again ends at once'));
  let server: RunningServer;
  try {
    server = await startServer(config, systemEdge, logger, accepted);
  } catch (error) {
    const known = error instanceof MemoirError || error instanceof LogRefused;
    const away = error instanceof StoreUnreachable;
    const reason = known ? error.reason : away ? 'STORE_UNAVAILABLE' : 'CANNOT_START';
    const code = error instanceof LogRefused ? 'DATA_LOSS' : away ? 'UNAVAILABLE' : 'INVALID_ARGUMENT';
    throw new MemoirError(code, reason, `the server cannot start: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const ready = server.ready().then(
    () => (stop.aborted ? undefined : printLine(`ready on ${server.address}`)),
    // Where the server stops before it is ready, that is no news.
    (error: unknown) => (stop.aborted ? undefined : note(`not ready: ${(error as Error).message}`)),
  );
  await aborted(stop);
  await server.stop();
  // What waits for a store that does not answer must not keep the process.
  setTimeout(() => process.exit(), lingering).unref();
  await ready;
}
