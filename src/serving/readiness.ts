import type { Logger } from 'pino';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Follower } from '../../projections/running/follower.js';
import { MemoirError } from '../domain/errors.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import type { Calls } from '../rpc/call.js';
import { logRefused } from '../rpc/status.js';

/** How long a call waits for the read model of a server that has just started, in milliseconds. */
const longestWaitForStart = 5_000;

/** How often the progress of a catch-up is logged, in milliseconds. */
const progressInterval = 2_000;

/**
 * Keeps calls until the read model has caught up: decisions taken by half a read model would be wrong. Refuses them where the log is
 * refused.
 */
export function gate(store: Pick<GuardedStore, 'refused'>, readModel: ReadModel): () => Promise<void> | undefined {
  return () => {
    const refused = store.refused();
    if (refused) throw refused;
    if (readModel.progress().live) return undefined;
    return caughtUpInTime(readModel);
  };
}

async function caughtUpInTime(readModel: ReadModel): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<void>((_, reject) => {
    timer = setTimeout(() => {
      const { position, end, failure } = readModel.progress();
      const why = failure === undefined ? '' : `; it cannot go on: ${failure}`;
      const message = `the read model is being brought up to date: at position ${position} of about ${end}${why}`;
      reject(new MemoirError('UNAVAILABLE', 'READ_MODEL_CATCHING_UP', message));
    }, longestWaitForStart);
  });
  try {
    await Promise.race([readModel.caughtUp(), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** Says when calls are answered, and until it is stopped, how the catch-up goes and what is wrong with the read model. */
export function watchReadModel(
  readModel: ReadModel,
  setServing: (serving: boolean) => void,
  logger: Logger,
): () => void {
  const timer = setInterval(() => {
    const { position, end, failure, live } = readModel.progress();
    if (failure !== undefined) logger.error({ position, failure }, 'the read model cannot be kept up to date');
    else if (!live) logger.info({ position, end }, 'bringing the read model up to date');
  }, progressInterval);
  timer.unref();
  readModel.caughtUp().then(
    () => {
      setServing(true);
      logger.info({ position: readModel.position() }, 'ready');
    },
    // The server was stopped before.
    () => undefined,
  );
  return () => clearInterval(timer);
}

/**
 * Stops serving for good when the log turns out to be one that this process must not go on with, whoever of those that read it finds
 * that: what is under way ends with the reason, and nothing is written any more.
 */
export function watchRefusal(
  store: Pick<GuardedStore, 'refuse' | 'onRefused'>,
  followers: readonly Follower[],
  setServing: (serving: boolean) => void,
  calls: Pick<Calls, 'drain'>,
  logger: Logger,
): void {
  for (const follower of followers) follower.onRefused(store.refuse);
  store.onRefused((error) => {
    setServing(false);
    calls.drain(logRefused(error));
    logger.error(
      { reason: error.reason },
      `the log is refused, nothing is served and nothing written: ${error.message}`,
    );
  });
}
