import type { Minima } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../../domain/errors.js';
import { unrunnable } from '../../domain/placement/nearest.js';
import { requirementsOf } from '../../domain/placement/requirements.js';
import type { JobsContext } from '../context.js';
import { capText, reachedCap } from '../running/caps.js';
import { openPauses } from './pauses.js';
import { keptSeenLately, lately } from './seen-lately.js';

/**
 * What keeps a queued job from being given to any worker, for people: a pause, that none could run it that was seen in the last 15 minutes, or a
 * cap; empty if nothing does, or if the job is not queued. It goes by what the log knows of workers, so that it is the same at every server with
 * the same policy, and tells nothing of them but what none offers.
 */
export type WaitingFor = (uuid: string) => string;

/** What tells that. Where log format 4 may not be recorded no worker is seen, and only caps are told of. */
export function waitingFor(
  context: Pick<JobsContext, 'readModel' | 'edge' | 'sharesRuns' | 'shares' | 'reservations'>,
): WaitingFor {
  const { readModel, edge, shares } = context;
  const pauses = openPauses(readModel);
  const workers = keptSeenLately(readModel, edge);

  function capped(uuid: string): string {
    const place = readModel.queue.placeOfJob(uuid);
    const reached = place && reachedCap(readModel, shares, place);
    return reached ? capText(reached, readModel.jobs.facts(uuid)?.owner === place.owner) : '';
  }

  return (uuid) => {
    if (!context.sharesRuns) return capped(uuid);
    const wanted = readModel.queue.requirementsOf(uuid);
    if (!wanted) return '';
    const pause = pauses.of(wanted.repository);
    if (pause) return `the queue is paused for ${quote(pause.repositories)}`;
    const kept = context.reservations.workerFor(uuid) ? 'a worker is kept free for it' : '';
    return [unrunnable(workers(), wanted, lately), capped(uuid), kept].filter((why) => why !== '').join('; ');
  };
}

/** What tells of the workers, by read model. */
const seenOf = new WeakMap<JobsContext['readModel'], ReturnType<typeof keptSeenLately>>();

/**
 * Whether a job may come to ask for more of the place where it runs: undefined if so, and else why none of the workers that were seen lately
 * could run it then, for people. Where none was seen nothing is known, and it may.
 */
export function unofferedIfRaised(
  context: Pick<JobsContext, 'readModel' | 'edge'>,
): (job: Job, minima: Minima) => string | undefined {
  const { readModel, edge } = context;
  return (job, minima) => {
    const seen = seenOf.get(readModel) ?? keptSeenLately(readModel, edge);
    seenOf.set(readModel, seen);
    const workers = seen();
    if (workers.length === 0) return undefined;
    return unrunnable(workers, requirementsOf({ ...job, minima }), lately) || undefined;
  };
}
