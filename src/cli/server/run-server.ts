import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Sources, serverSettings } from '../../config/settings.js';
import type { ServerConfig } from '../../config.js';
import { MemoirError } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { LogRefused, StoreUnreachable } from '../../eventstore/port.js';
import { type RunningServer, startServer } from '../../main.js';
import type { Accepted } from '../../serving/opening.js';
import { note, printLine } from '../text/output.js';
import { openLogger } from './logger.js';
import { privateFromNow } from './private-from-now.js';
import { rereadRepositories } from './reread-repositories.js';
import { type ServiceManager, serviceManager } from './service-manager.js';
import { aborted, stopSignal } from './stop-signals.js';

/** How long a server that has stopped may take to let go of the process, in milliseconds. */
const lingering = 2_000;

/** How long a server that waits for its store pauses between two looks at it, in milliseconds. */
const betweenStarts = 1_000;

/**
 * Runs a server as the settings say, until a signal ends it. Prints its address when it answers.
 * @throws MemoirError INVALID_ARGUMENT if a setting is wrong, or if the server cannot start; UNAVAILABLE if its store
 * cannot be reached and it is not to wait for it; DATA_LOSS if its log is not what it was
 */
export async function runServer(sources: Sources, accepted: Accepted): Promise<void> {
  const config = await serverSettings(sources);
  privateFromNow();
  const logger = openLogger(config.log_level);
  const manager = serviceManager(process.env, logger);
  let told: Promise<void> | undefined;
  const stop = stopSignal((signal) => {
    logger.info({ signal }, 'stopping; the same signal again ends at once');
    told = manager.stopping();
  });
  let server: RunningServer;
  try {
    const started = await startWhenThere(config, logger, accepted, manager, stop);
    if (!started) return await told;
    server = started;
  } catch (error) {
    const known = error instanceof MemoirError || error instanceof LogRefused;
    const away = error instanceof StoreUnreachable;
    const reason = known ? error.reason : away ? 'STORE_UNAVAILABLE' : 'CANNOT_START';
    const code = error instanceof LogRefused ? 'DATA_LOSS' : away ? 'UNAVAILABLE' : 'INVALID_ARGUMENT';
    throw new MemoirError(code, reason, `the server cannot start: ${(error as Error).message}`, {
      cause: error,
    });
  }
  server.onStatus(({ serving, text }) => {
    if (serving) manager.ready();
    manager.status(text);
  });
  const ready = server.ready().then(
    () => (stop.aborted ? undefined : printLine(`ready on ${server.address}`)),
    // Where the server stops before it is ready, that is no news.
    (error: unknown) => (stop.aborted ? undefined : note(`not ready: ${(error as Error).message}`)),
  );
  const rereading = rereadRepositories(sources, () => serverSettings(sources), config, server, logger);
  await aborted(stop);
  rereading.close();
  await server.stop();
  await told;
  // What waits for a store that does not answer must not keep the process.
  setTimeout(() => process.exit(), lingering).unref();
  await ready;
}

/** A server, once its store can be reached if the settings say to wait for it; undefined if a signal came first. */
async function startWhenThere(
  config: ServerConfig,
  logger: Logger,
  accepted: Accepted,
  manager: Pick<ServiceManager, 'status'>,
  stop: AbortSignal,
): Promise<RunningServer | undefined> {
  let told: string | undefined;
  manager.status('opens the log');
  // One look at a store that does not answer may take as long as a write may wait for it.
  let leaving: NodeJS.Timeout | undefined;
  const leave = () => {
    leaving = setTimeout(() => process.exit(), lingering).unref();
  };
  stop.addEventListener('abort', leave, { once: true });
  try {
    while (!stop.aborted) {
      try {
        return await startServer(config, systemEdge, logger, accepted);
      } catch (error) {
        if (!(error instanceof StoreUnreachable && config.wait_for_store)) throw error;
        if (error.message !== told) {
          logger.warn(`waiting for the store: ${error.message}`);
          manager.status(`waits for the store: ${error.message}`);
        }
        told = error.message;
        await delay(betweenStarts, undefined, { signal: stop }).catch(() => undefined);
      }
    }
    return undefined;
  } finally {
    stop.removeEventListener('abort', leave);
    clearTimeout(leaving);
  }
}
