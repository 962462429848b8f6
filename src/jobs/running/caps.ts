import type { QueuedRow } from '../../../projections/read-model/queue.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { MemoirError } from '../../domain/errors.js';
import type { Shares } from '../../domain/placement/shares.js';

/** What of a queued job caps look at. */
type Capped = Pick<QueuedRow, 'owner' | 'repository'>;

/** A cap that is reached. */
export type ReachedCap = { readonly of: 'owner' | 'repository'; readonly most: number; readonly running: number };

/** The cap that keeps a job from being given to anybody, as far as the log tells; undefined if none does. */
export function reachedCap(
  { queue }: Pick<ReadModel, 'queue'>,
  shares: Shares,
  { owner, repository }: Capped,
): ReachedCap | undefined {
  const { maxRunning } = shares.ofOwner(owner);
  if (maxRunning !== undefined) {
    const { running } = queue.loadOfOwner(owner);
    if (running >= maxRunning) return { of: 'owner', most: maxRunning, running };
  }
  const most = shares.maxRunningOf(repository);
  if (most === undefined) return undefined;
  const running = queue.runningOfRepository(repository);
  return running >= most ? { of: 'repository', most, running } : undefined;
}

/** That a cap is reached, for people. Whose turns a job takes is not told: it may be another than its owner. */
export function capText({ of, most, running }: ReachedCap, own: boolean): string {
  const whom = own ? 'its owner' : 'who has waited for it longest';
  const whose = of === 'owner' ? whom : 'its repository';
  if (running < most) return `another job of ${whose} is being begun, and ${most} may run at once`;
  return `${running === 1 ? `1 job of ${whose} runs` : `${running} jobs of ${whose} run`}, and ${most} may at once`;
}

/** The FAILED_PRECONDITION for a claim of a job that a cap keeps back. */
export function capError(uuid: string, reached: ReachedCap, own: boolean): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'RUNNING_CAP',
    `job ${uuid} is given to nobody now: ${capText(reached, own)}`,
    { metadata: { uuid, cap: String(reached.most), running: String(reached.running) } },
  );
}

/** Caps of running jobs, as the claims of this process keep them. */
export type Caps = {
  /** Whether one job more that takes the turns of an owner may be given. */
  owner(name: string): boolean;
  /** Whether one job more of a repository may be given. */
  repository(name: string): boolean;
  /** What keeps a job from being given; undefined if nothing does. */
  reached(job: Capped): ReachedCap | undefined;
  /** The owners and repositories of which one more may be given again, since the last time that they were found to have no room. */
  roomAgain(): { readonly owners: readonly string[]; readonly repositories: readonly string[] };
};

/**
 * Keeps the caps of `shares`. Counted are the jobs that run in the read model, and those `taken` in this process that it has still queued. Where
 * other servers claim too, this one begins one job at a time of whoever has a cap, so that each server exceeds it by one at most.
 */
export function openCaps(
  { queue }: Pick<ReadModel, 'queue'>,
  shares: Shares,
  exclusive: boolean,
  taken: ReadonlyMap<string, Capped | undefined>,
): Caps {
  const full = { owner: new Set<string>(), repository: new Set<string>() };

  function beginning(by: keyof Capped, name: string): number {
    let count = 0;
    for (const [uuid, place] of taken) {
      if (place?.[by] === name && queue.placeOfJob(uuid) !== undefined) count++;
    }
    return count;
  }

  function reachedBy(by: keyof Capped, name: string): ReachedCap | undefined {
    const most = by === 'owner' ? shares.ofOwner(name).maxRunning : shares.maxRunningOf(name);
    if (most === undefined) return undefined;
    const begun = beginning(by, name);
    const running = begun + (by === 'owner' ? queue.loadOfOwner(name).running : queue.runningOfRepository(name));
    if (running < most && (exclusive || begun === 0)) return undefined;
    full[by].add(name);
    return { of: by, most, running };
  }

  const owner = (name: string) => !reachedBy('owner', name);
  const repository = (name: string) => !reachedBy('repository', name);

  function again(by: keyof Capped, room: (name: string) => boolean): string[] {
    const names = [...full[by]];
    full[by].clear();
    return names.filter(room);
  }

  return {
    owner,
    repository,
    reached: (job) => reachedBy('owner', job.owner) ?? reachedBy('repository', job.repository),
    roomAgain: () => ({ owners: again('owner', owner), repositories: again('repository', repository) }),
  };
}
