import type { Logger } from 'pino';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { LeaseRow } from '../../../projections/read-model/jobs.js';
import type { ExpireLeaseCommand, ExpireRunCommand } from '../../domain/commands.js';
import { serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { Recording } from '../recording-store.js';
import { type Sweeping, sweepEvery } from './sweeping.js';

/** How often the leases are looked at, in milliseconds. */
const interval = 500;

/** Most time between two looks that counts, in milliseconds: during the rest nobody could be heard, or nothing be recorded. */
const longestStep = 2 * interval;

/** A lease, or an attempt, as this process saw it: the revision of its event, or its number, and when, on the clock of the looks. */
type Seen = { readonly revision: number; readonly since: number };

/** How much longer than it may an attempt runs before the server ends it, in milliseconds: its worker is to do that, and may be late. */
const runGrace = 60_000;

/** What leases are watched with. */
export type LeasesContext = Pick<JobsContext, 'store' | 'readModel' | 'streams' | 'edge' | 'sharesRuns'> & {
  readonly recording: Recording;
};

/**
 * Ends attempts whose worker sent no heartbeat within its lease, with reason LEASE_EXPIRED: another may follow. A lease runs from when this process saw it, by
 * a clock that does not jump, and only while a heartbeat could be heard and recorded:
 *   - A look counts if the read model is up to date, the store answers, and no append has been under way since the look before. The
 *     time between two looks that count is counted, up to a second of it.
 *   - If it was as long as a worker may be silent between two heartbeats, a third of the lease, the lease begins anew: the process was
 *     stopped or slept, or the store was away. So it does when an append failed because of the store, which may have been a heartbeat.
 * The longest run of an attempt is counted in the same time.
 * So a lease may last longer, but none ends because of a change of the wall clock, or while the worker is alive and nobody could hear
 * it, or the store could not take down what it said.
 * @param every - milliseconds between two looks of its own
 */
export function watchLeases(context: LeasesContext, logger: Logger, every = interval): Sweeping {
  const { readModel, streams, store, recording, edge } = context;
  let seen = new Map<string, Seen>();
  let begun = new Map<string, Seen>();
  let lookedAt: number | undefined;
  /** Time that counted, in milliseconds. */
  let heard = 0;
  let failures = 0;
  let oldest: number | undefined;

  async function canRecord(): Promise<boolean> {
    const before = oldest;
    oldest = recording.oldest();
    if (!readModel.progress().live || (oldest !== undefined && oldest === before)) return false;
    try {
      await store.end();
      return true;
    } catch {
      return false;
    }
  }

  async function sweep(): Promise<void> {
    // One that is made anew tells of none.
    if (!readModel.progress().live) return;
    const leases = readModel.jobs.leases();
    if (leases.length > 0 && !(await canRecord())) return;
    const now = edge.monotonic();
    const gap = now - (lookedAt ?? now);
    lookedAt = now;
    heard += Math.min(gap, longestStep);
    const failed = recording.failures() !== failures;
    failures = recording.failures();
    const next = new Map<string, Seen>();
    const over: LeaseRow[] = [];
    const runs = new Map<string, Seen>();
    const overdue: LeaseRow[] = [];
    for (const row of leases) {
      const { uuid, lease_ms: leaseMs, lease_revision: revision } = row;
      const before = seen.get(uuid);
      const anew = failed || gap > Math.max(longestStep, leaseMs / 3);
      const lease = before?.revision === revision && !anew ? before : { revision, since: heard };
      next.set(uuid, lease);
      if (heard - lease.since > leaseMs) {
        over.push(row);
        continue;
      }
      if (row.run_limit === null) continue;
      const known = begun.get(uuid);
      const run = known?.revision === row.attempt ? known : { revision: row.attempt, since: heard };
      runs.set(uuid, run);
      if (heard - run.since > Number.parseFloat(row.run_limit) * 1_000 + runGrace) overdue.push(row);
    }
    seen = next;
    begun = runs;
    if (over.length + overdue.length > 0) await expireAll(over, overdue);
  }

  /** Ends the attempts, unless the store fails first: what it is recording now may be their heartbeats. */
  async function expireAll(over: readonly LeaseRow[], overdue: readonly LeaseRow[]): Promise<void> {
    await recording.answered();
    for (const { uuid, lease_revision: leaseRevision } of over) {
      if (recording.failures() !== failures) return;
      await end(uuid, { kind: 'expire_lease', leaseRevision, ...chance(), now: edge.now() });
    }
    for (const { uuid, attempt } of overdue) {
      if (recording.failures() !== failures) return;
      await end(uuid, { kind: 'expire_run', attempt, ...chance(), now: edge.now() });
    }
  }

  const chance = () => (context.sharesRuns ? { chance: edge.random() } : {});

  async function end(uuid: string, command: ExpireLeaseCommand | ExpireRunCommand): Promise<void> {
    const why = command.kind === 'expire_lease' ? 'its lease ran out' : 'it took longer than it may';
    try {
      const { changed, record } = await streams.execute(serverItself(edge), uuid, command);
      if (!changed) return;
      const then = record.job.state === JobState.QUEUED ? 'it is queued again' : 'it has failed';
      logger.warn(
        { uuid, attempt: record.attempt?.number },
        `an attempt to run a job was ended, since ${why}; ${then}`,
      );
    } catch (error) {
      logger.error({ err: error, uuid }, `an attempt could not be ended although ${why}; its time begins anew`);
    }
  }

  return sweepEvery(every, sweep, (error) => logger.error({ err: error }, 'leases could not be checked'));
}
