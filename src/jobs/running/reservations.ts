import type { Offer } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { claimantText, comparePlaces, type QueuedRow } from '../../../projections/read-model/queue.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { WorkerId } from '../../../projections/read-model/workers.js';
import { fits } from '../../domain/placement/requirements.js';
import { jobStream } from '../../domain/streams.js';
import type { Edge } from '../../edge.js';
import { seenWithin } from '../workers/seen-lately.js';

/** How often a job is passed over at least until a worker is kept free for it. */
const fewestPasses = 10;

/** The part of the time that is spent on finding what was passed over. */
const partForLooking = 0.01;

/** How long a worker that runs nothing may offer too little until it is kept free no longer, in milliseconds. */
const idleFor = 60_000;

/** A worker that claims: who it is, all that it has, and what of it is free. */
export type Claiming = WorkerId & {
  readonly total: Offer | undefined;
  readonly offer: Offer | undefined;
  readonly repositories: readonly string[];
};

/** Workers that are kept free for jobs which waited long and were passed over by smaller ones. */
export type Reservations = {
  /** Uuid of the job that a worker is kept free for; undefined if it is for none. */
  jobOf(worker: WorkerId): string | undefined;
  /** The worker that is kept free for a job; undefined if none is. */
  workerFor(uuid: string): WorkerId | undefined;
  /** A worker was given a job. `others` gives the first jobs of the lists that it has too little free for, and enough in all. */
  given(worker: Claiming, place: QueuedRow, others: () => readonly QueuedRow[]): void;
  /** A worker that is kept free claims, and has too little free for the job. */
  refused(worker: WorkerId): void;
  /** Calls `listener` after a worker came to be kept free no longer. */
  onEnded(listener: () => void): void;
};

/** A job that was passed over, since when, and how often. */
type Passed = { readonly uuid: string; readonly since: number; count: number };

type Reserved = {
  readonly worker: WorkerId;
  readonly uuid: string;
  readonly since: number;
  readonly forget: () => void;
};

/**
 * Keeps workers free, one for a job and for one job, each server those that claim at it. A job that has been passed over again and again for `afterMs`,
 * by jobs behind it which were given to workers that could run it if less of them were taken, gets the next one of these; it is kept free
 * until the job is queued no more or the worker was not seen lately. `afterMs` 0 keeps none.
 */
export function openReservations(
  { queue, workers, onChange, onRemade }: Pick<ReadModel, 'queue' | 'workers' | 'onChange' | 'onRemade'>,
  edge: Pick<Edge, 'monotonic' | 'now'>,
  afterMs: number,
): Reservations {
  // By list.
  const passed = new Map<number, Passed>();
  const byWorker = new Map<string, Reserved>();
  const byJob = new Map<string, Reserved>();
  /** Workers that had nothing to run and still too little, by job. */
  const unsuited = new Map<string, Set<string>>();
  const listeners: (() => void)[] = [];
  let notBefore = Number.NEGATIVE_INFINITY;

  onRemade(() => {
    passed.clear();
    for (const one of [...byJob.values()]) end(one);
  });

  function end(one: Reserved): void {
    if (byJob.get(one.uuid) !== one) return;
    byJob.delete(one.uuid);
    byWorker.delete(claimantText(one.worker));
    one.forget();
    for (const listener of listeners) listener();
  }

  /** The reservation if it stands still. */
  function standing(one: Reserved | undefined): Reserved | undefined {
    if (!one) return undefined;
    const worker = workers.get(one.worker);
    const queued = queue.placeOfJob(one.uuid) !== undefined;
    if (queued && worker && !worker.drained && worker.seenAt >= edge.now() - seenWithin) return one;
    end(one);
    if (!queued) unsuited.delete(one.uuid);
    return undefined;
  }

  function reserve(worker: Claiming, uuid: string): void {
    const { principal, workerName, total, repositories } = worker;
    const wanted = queue.requirementsOf(uuid);
    if (!wanted || !fits(total, wanted) || unsuited.get(uuid)?.has(claimantText(worker))) return;
    if (repositories.length > 0 && !repositories.includes(wanted.repository)) return;
    // One that was never seen by the log is nobody to keep free.
    if (standing(byJob.get(uuid)) || standing(byWorker.get(claimantText(worker))) || !workers.get(worker)) return;
    const forget = onChange(jobStream(uuid), () => void standing(byJob.get(uuid)));
    const one = { worker: { principal, workerName }, uuid, since: edge.monotonic(), forget };
    byJob.set(uuid, one);
    byWorker.set(claimantText(worker), one);
  }

  function pass(worker: Claiming, { uuid, shape }: QueuedRow): void {
    const now = edge.monotonic();
    const before = passed.get(shape);
    if (before?.uuid !== uuid) {
      passed.set(shape, { uuid, since: now, count: 1 });
      return;
    }
    before.count++;
    if (before.count >= fewestPasses && now - before.since >= afterMs) reserve(worker, uuid);
  }

  return {
    jobOf: (worker) => standing(byWorker.get(claimantText(worker)))?.uuid,
    workerFor: (uuid) => standing(byJob.get(uuid))?.worker,
    given(worker, place, others) {
      const began = edge.monotonic();
      if (afterMs === 0 || worker.workerName === '' || began < notBefore) return;
      const those = others();
      const lists = new Set(those.map(({ shape }) => shape));
      for (const other of those) if (comparePlaces(other, place) < 0) pass(worker, other);
      // Lists that ended.
      if (passed.size > 10_000) for (const id of passed.keys()) if (!lists.has(id)) passed.delete(id);
      const ended = edge.monotonic();
      notBefore = ended + (ended - began) / partForLooking;
    },
    refused(worker) {
      const one = byWorker.get(claimantText(worker));
      if (!one || edge.monotonic() - one.since < idleFor || workers.jobsOf(one.worker, 1).length > 0) return;
      const those = unsuited.get(one.uuid) ?? new Set();
      unsuited.set(one.uuid, those.add(claimantText(worker)));
      end(one);
    },
    onEnded: (listener) => void listeners.push(listener),
  };
}
