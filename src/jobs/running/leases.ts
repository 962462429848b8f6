import type { Logger } from 'pino';
import { serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';

/** How often the leases are looked at, in milliseconds. */
const interval = 500;

type Seen = { readonly revision: number; readonly since: number };

/** The watch over leases that run out. */
export type LeaseWatch = {
  /** Looks at all leases once and fails the jobs whose lease has run out. */
  sweep(): Promise<void>;
  /** Ends the watch, after the sweep at hand. */
  stop(): Promise<void>;
};

/**
 * Fails jobs whose worker sent no heartbeat within its lease, with reason LEASE_EXPIRED. A lease runs from when this process saw
 * it, by a clock that does not jump: a lease may last longer by the time between two looks, or by a restart of the server, but
 * no change of the wall clock fails a job whose worker is alive.
 */
export function watchLeases(context: JobsContext, logger: Logger): LeaseWatch {
  const { readModel, streams, edge } = context;
  let seen = new Map<string, Seen>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function sweep(): Promise<void> {
    if (!readModel.progress().live) return;
    const now = edge.monotonic();
    const next = new Map<string, Seen>();
    for (const { uuid, lease_ms: leaseMs, lease_revision: revision } of readModel.jobs.leases()) {
      const before = seen.get(uuid);
      const lease = before?.revision === revision ? before : { revision, since: now };
      next.set(uuid, lease);
      if (now - lease.since > leaseMs) await expire(uuid, revision);
    }
    seen = next;
  }

  async function expire(uuid: string, leaseRevision: number): Promise<void> {
    const command = { kind: 'expire_lease', leaseRevision, now: edge.now() } as const;
    try {
      const { changed } = await streams.execute(serverItself(edge), uuid, command);
      if (changed) logger.warn({ uuid }, 'the lease of a job ran out; the job has failed');
    } catch (error) {
      logger.error({ err: error, uuid }, 'a job whose lease ran out could not be failed; it is tried again');
    }
  }

  let running: Promise<void> = Promise.resolve();
  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => {
      running = sweep()
        .catch((error: unknown) => logger.error({ err: error }, 'leases could not be checked'))
        .finally(schedule);
    }, interval);
    timer.unref();
  }
  schedule();

  return {
    sweep,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
