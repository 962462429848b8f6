import type { Logger } from 'pino';
import { MemoirError } from '../domain/errors.js';
import type { Checkpoints, CheckpointsContext } from './checkpoints.js';

/** Longest wait after a checkpoint that could not be recorded, in milliseconds. */
const retryAfter = 60_000;

/** The recording of checkpoints. */
export type CheckpointRecording = {
  /** Ends it, after the checkpoint at hand. */
  stop(): Promise<void>;
};

/**
 * Records a checkpoint whenever the last one, or without any the first event, is as old as the interval in milliseconds and something
 * was recorded since. A restart does not begin the interval anew, and several servers of one store keep it together. With 0 it records
 * none.
 */
export function recordCheckpoints(
  context: Pick<CheckpointsContext, 'store' | 'edge'>,
  checkpoints: Checkpoints,
  interval: number,
  logger: Logger,
): CheckpointRecording {
  const { store, edge } = context;
  const stopped = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();

  /** Milliseconds until the next one is due. What is an interval ahead is as old as what is an interval behind: a clock was set. */
  async function due(): Promise<number> {
    let since = await checkpoints.last();
    if (!since) for await (const first of store.readAll(undefined, { limit: 1 })) since = first;
    if (!since) return interval;
    return Math.max(0, interval - Math.abs(edge.now() - since.recordedAt));
  }

  async function look(): Promise<number> {
    const wait = await due();
    if (wait > 0) return wait;
    if (await checkpoints.record(stopped.signal)) logger.info('recorded a checkpoint of the log');
    return interval;
  }

  async function lookOrSay(): Promise<number> {
    try {
      return await look();
    } catch (error) {
      if (stopped.signal.aborted) return interval;
      const passing = error instanceof MemoirError && error.code === 'UNAVAILABLE';
      logger[passing ? 'warn' : 'error']({ err: error }, 'no checkpoint of the log could be recorded');
      return Math.min(interval, retryAfter);
    }
  }

  function schedule(wait: number): void {
    if (stopped.signal.aborted) return;
    timer = setTimeout(() => {
      running = lookOrSay().then(schedule);
    }, wait);
    timer.unref();
  }
  if (interval > 0) schedule(Math.min(interval, 1_000));

  return {
    async stop() {
      stopped.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
