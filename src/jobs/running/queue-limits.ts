import type { Logger } from 'pino';
import type { LimitedRow } from '../../../projections/read-model/interests.js';
import { serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';
import { type Sweeping, sweepEvery } from './sweeping.js';

/** How often the limits are looked at, in milliseconds. */
const interval = 500;

/** Most time between two looks that counts, in milliseconds: during the rest this process may have been stopped. */
const longestStep = 2 * interval;

/**
 * Ends interests in jobs that were not run for the first time within what the request allowed, with reason QUEUE_LIMIT, and with the last of them the
 * job. As with leases, the time runs from when this process saw the interest, by a clock that does not jump, and only while it could read what is
 * recorded; so an interest may last longer, but none ends sooner than it says.
 * @param every - milliseconds between two looks of its own
 */
export function watchQueueLimits(
  { readModel, streams, store, edge }: Pick<JobsContext, 'readModel' | 'streams' | 'store' | 'edge'>,
  logger: Logger,
  every = interval,
): Sweeping {
  let seen = new Map<number, number>();
  let lookedAt: number | undefined;
  /** Time that counted, in milliseconds. */
  let heard = 0;

  async function sweep(): Promise<void> {
    if (!readModel.progress().live) return;
    const limited = readModel.jobs.limited();
    const now = edge.monotonic();
    const gap = now - (lookedAt ?? now);
    lookedAt = now;
    if (limited.length === 0) {
      seen = new Map();
      return;
    }
    try {
      await store.end();
    } catch {
      return;
    }
    heard += Math.min(gap, longestStep);
    const next = new Map<number, number>();
    for (const row of limited) {
      const since = seen.get(row.position) ?? heard;
      next.set(row.position, since);
      if (heard - since > row.queued_ms) await end(row);
    }
    seen = next;
  }

  async function end({ uuid, principal, id: interest }: LimitedRow): Promise<void> {
    const caller = serverItself(edge);
    const command = {
      kind: 'leave',
      principal: caller.principal,
      of: [{ principal }],
      interest,
      reason: 'QUEUE_LIMIT',
      cascadeFrom: '',
      cascade: false,
      now: edge.now(),
    } as const;
    try {
      const { changed } = await streams.execute(caller, uuid, command);
      if (changed) logger.info({ uuid }, 'an interest in a job ended that was not run in time');
    } catch (error) {
      logger.error({ err: error, uuid }, 'an interest whose time was up could not be ended; it is tried again');
    }
  }

  return sweepEvery(every, sweep, (error) => logger.error({ err: error }, 'limits of the queue could not be checked'));
}
