import type { Offer } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { fits, type Requirements, unmetBy } from './requirements.js';

/** A worker that was seen: all that it has, and whose jobs it runs. */
export type SeenWorker = {
  readonly offer: Offer | undefined;
  /** Repositories whose jobs it runs; empty for all. */
  readonly repositories: readonly string[];
  readonly drained: boolean;
};

/**
 * Why none of the workers could run a job, for people: every condition that fails for the nearest of them, the one for which the fewest fail.
 * Empty if one could. Nothing is told of the workers but that.
 * @param within how long ago they were seen at most, for people, such as `15 minutes`
 */
export function unrunnable(workers: readonly SeenWorker[], wanted: Requirements, within: string): string {
  if (workers.length === 0) return `no worker that names itself was seen in the last ${within}`;
  let nearest: readonly string[] | undefined;
  const failing = new Map<string, number>();
  for (const worker of workers) {
    const unmet = conditions(worker, wanted);
    if (unmet.length === 0) return '';
    for (const one of unmet) failing.set(one, (failing.get(one) ?? 0) + 1);
    if (!nearest || unmet.length < nearest.length) nearest = unmet;
  }
  const all = nearest ?? [];
  const text = all.join(', ');
  // What each of them fails is told as it is; otherwise another offers some of it, and lacks more.
  if (all.every((one) => failing.get(one) === workers.length)) return `no worker offers ${text}`;
  return `no worker offers all that it asks for: the nearest does not offer ${text}`;
}

/** Whether a worker could run a job, were it free. */
export function couldRun(worker: SeenWorker, wanted: Requirements): boolean {
  return !worker.drained && runsRepository(worker, wanted) && fits(worker.offer, wanted);
}

function runsRepository({ repositories }: SeenWorker, { repository }: Requirements): boolean {
  return repositories.length === 0 || repositories.includes(repository);
}

function conditions(worker: SeenWorker, wanted: Requirements): readonly string[] {
  const unmet = unmetBy(worker.offer, wanted).map((one) => one.wanted);
  if (!runsRepository(worker, wanted)) unmet.push(`to run jobs of ${wanted.repository}`);
  if (worker.drained) unmet.push('not to be drained');
  return unmet;
}
