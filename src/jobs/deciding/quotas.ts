import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { Shares } from '../../domain/placement/shares.js';
import type { Position } from '../../eventstore/port.js';

/** Room that a job has under the quota of its owner while it is being made. */
export type Held = {
  /** The job was made, and whoever has read up to the position counts it; without one it was not made. Only the first call counts. */
  end(position?: Position): void;
};

/** Quotas of queued jobs. */
export type Quotas = {
  /**
   * Holds room for a job that is about to be made.
   * @throws MemoirError RESOURCE_EXHAUSTED naming the quota, if as many jobs are queued that take the owner's turns
   */
  hold(owner: string, uuid: string): Held;
};

const free: Held = { end: () => undefined };

/** Keeps the quotas of the policy. Counted are the jobs that are queued in the read model, and those that are made here and not yet there. */
export function openQuotas(readModel: Pick<ReadModel, 'queue' | 'jobs' | 'position'>, shares: Shares): Quotas {
  /** By owner and uuid; the position once it is known. */
  const making = new Map<string, Map<string, Position | undefined>>();

  /** How many of the owner's are not counted by the read model. */
  function uncounted(owner: string): number {
    const own = making.get(owner);
    if (!own) return 0;
    for (const [uuid, position] of own) {
      if (position !== undefined && position <= readModel.position()) own.delete(uuid);
    }
    if (own.size === 0) making.delete(owner);
    // What was read is told behind what can be read.
    return [...own.keys()].filter((uuid) => readModel.jobs.facts(uuid) === undefined).length;
  }

  return {
    hold(owner, uuid) {
      const { maxQueued } = shares.ofOwner(owner);
      if (maxQueued === undefined) return free;
      const count = readModel.queue.loadOfOwner(owner).queued + uncounted(owner);
      if (count >= maxQueued) throw exceeded(owner, count, maxQueued);
      const own = making.get(owner) ?? new Map<string, Position | undefined>();
      making.set(owner, own.set(uuid, undefined));
      let ended = false;
      return {
        end(position) {
          if (ended) return;
          ended = true;
          if (position === undefined) own.delete(uuid);
          else own.set(uuid, position);
        },
      };
    },
  };
}

function exceeded(owner: string, count: number, most: number): MemoirError {
  return new MemoirError(
    'RESOURCE_EXHAUSTED',
    'QUEUE_QUOTA',
    `${quote(owner)} has ${count} jobs queued, and its quota is ${most}: wait until some of them run, or cancel some`,
    { metadata: { quota: String(most), queued: String(count) } },
  );
}
