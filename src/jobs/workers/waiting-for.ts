import type { Minima } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../../domain/errors.js';
import { type SeenWorker, unrunnable } from '../../domain/placement/nearest.js';
import { requirementsOf } from '../../domain/placement/requirements.js';
import type { JobsContext } from '../context.js';
import { openPauses } from './pauses.js';

/** How long ago a worker was seen that counts, in milliseconds: three times as long as it takes at most until it is recorded again. */
const seenWithin = 15 * 60_000;

/** The same for people. */
const lately = '15 minutes';

/** How long what is known of the workers is kept, in milliseconds, and of how many. */
const keptFor = 1_000;
const mostWorkers = 10_000;

/**
 * What keeps a queued job from being given to any worker, for people; empty if one could run it that was seen in the last 15 minutes, or if
 * the job is not queued. It goes by what the log knows of workers, so that it is the same at every server, and tells nothing of them but
 * what none offers.
 */
export type WaitingFor = (uuid: string) => string;

/** What tells that. Where log format 4 may not be recorded no worker is seen, and nothing is told. */
export function waitingFor(context: Pick<JobsContext, 'readModel' | 'edge' | 'sharesRuns'>): WaitingFor {
  const { readModel, edge } = context;
  const pauses = openPauses(readModel);
  let known: { readonly workers: readonly SeenWorker[]; readonly until: number } | undefined;

  function workers(): readonly SeenWorker[] {
    const now = edge.monotonic();
    if (!known || now >= known.until) {
      known = { workers: seenLately(context), until: now + keptFor };
    }
    return known.workers;
  }

  return (uuid) => {
    if (!context.sharesRuns) return '';
    const wanted = readModel.queue.requirementsOf(uuid);
    if (!wanted) return '';
    const pause = pauses.of(wanted.repository);
    if (pause) return `the queue is paused for ${quote(pause.repositories)}`;
    return unrunnable(workers(), wanted, lately);
  };
}

function seenLately({ readModel, edge }: Pick<JobsContext, 'readModel' | 'edge'>): readonly SeenWorker[] {
  return readModel.workers.seenSince(Math.max(0, edge.now() - seenWithin), mostWorkers);
}

/**
 * Whether a job may come to ask for more of the place where it runs: undefined if so, and else why none of the workers that were seen lately
 * could run it then, for people. Where none was seen nothing is known, and it may.
 */
export function unofferedIfRaised(
  context: Pick<JobsContext, 'readModel' | 'edge'>,
): (job: Job, minima: Minima) => string | undefined {
  return (job, minima) => {
    const workers = seenLately(context);
    if (workers.length === 0) return undefined;
    return unrunnable(workers, requirementsOf({ ...job, minima }), lately) || undefined;
  };
}
