import { toJson } from '@bufbuild/protobuf';
import { type Offer, OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { jobFromRow } from '../../../projections/read-model/jobs.js';
import { claimantText, type QueuedRow } from '../../../projections/read-model/queue.js';
import type { WorkerId } from '../../../projections/read-model/workers.js';
import { ifReadable } from '../../../projections/running/read-connection.js';
import { isSameClaim, usedToken } from '../../domain/attempt.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import { couldRun } from '../../domain/placement/nearest.js';
import { hasKind, requirementsOf } from '../../domain/placement/requirements.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { Executed } from '../job-streams.js';
import { keyedLock } from '../keyed-lock.js';
import { openPauses } from '../workers/pauses.js';
import { keptSeenLately } from '../workers/seen-lately.js';
import { capError, openCaps } from './caps.js';
import { preferOthers } from './other-workers.js';
import { openQueueOrder, type Wanting } from './queue-order.js';
import { type Suits, type Waiting, waitingClaims } from './waiting-claims.js';

/** How a worker wants to hold a job. */
export type Hold = {
  /** Length of the lease in milliseconds. */
  readonly leaseMs: number;
  /** SHA-256 of the claim token, in hexadecimal digits. */
  readonly tokenDigest: string;
  /** Whether the server made the token, since the worker sent none: then nobody can have claimed with it before. */
  readonly tokenMade: boolean;
  readonly workerName: string;
  /** What of the worker is free, if it said so. */
  readonly offer?: Offer | undefined;
  /** All that it has. */
  readonly total?: Offer | undefined;
};

/** What a worker asks for. */
export type Claim = Hold & {
  /** How long to wait for a job, in milliseconds. */
  readonly waitMs: number;
  /** Repositories whose jobs the worker runs; empty for all. */
  readonly repositories: readonly string[];
};

/** Why a job is not given out that the read model has in the queue, where the reason is that the job has changed since. */
const outdated: ReadonlySet<string | undefined> = new Set(['WRONG_STATE', 'OFFER_DOES_NOT_FIT', 'BACKING_OFF']);

/** A job that was claimed. */
export type Claimed = Pick<Executed, 'record' | 'position'>;

/** Claims of queued jobs. The same claim again, by its token, is answered with the same job while the attempt stands. */
export type Claims = {
  /**
   * Claims one job.
   * @throws MemoirError NOT_FOUND, or FAILED_PRECONDITION naming the state if it is not queued, TOKEN_IN_USE if the token holds
   * another job, ATTEMPT_ENDED if it held one that has ended, BACKING_OFF if the job is given to nobody yet, OFFER_DOES_NOT_FIT naming
   * every condition that fails, WORKER_DRAINED, QUEUE_PAUSED, RUNNING_CAP naming the cap
   */
  claim(caller: Caller, uuid: string, hold: Hold): Promise<Claimed>;
  /**
   * Claims the next job of the queue that the offer fits; undefined if none was queued in time or the signal aborted.
   * @throws MemoirError ATTEMPT_ENDED if the token held a job that was lost, PERMISSION_DENIED if there is no repository among those asked
   * for whose jobs the caller may run
   */
  claimNext(caller: Caller, claim: Claim, signal: AbortSignal): Promise<Claimed | undefined>;
  /** Whether a worker is given no jobs. */
  isDrained(caller: Caller, workerName: string): boolean;
};

/**
 * Makes the use case ClaimJob. Whoever appends JobStarted at the queued job's revision has it; the others go on to the next.
 */
export function jobClaims(context: JobsContext): Claims {
  const { readModel, streams, store, written, edge } = context;
  // Jobs that are queued in the read model but claimed, or being claimed, in this process.
  const taken = new Map<string, QueuedRow | undefined>();
  // Uuids of the jobs that this process gave away and the read model may not know of yet, by the digests of their claim tokens.
  const given = new Map<string, string>();
  // So that of claims with one token at once one takes a job and the others find it.
  const serially = keyedLock();
  const order = openQueueOrder(readModel);
  const pauses = openPauses(readModel);
  const caps = openCaps(readModel, context.shares, store.exclusive, taken);
  const waiting = waitingClaims<QueuedRow>(
    (place) => isFree(place.uuid) && hasRoom(place) && readModel.queue.placeOfJob(place.uuid) !== undefined,
  );
  readModel.onQueued((uuids) => {
    if (!uuids) waiting.availableToAll();
    else announce(uuids);
  });
  context.backOffs?.onPassed((uuids) => ifReadable(() => announce(uuids)));
  readModel.onEnded(lookForRoom);
  context.shares.onChange(() => waiting.availableToAll());
  context.reservations.onEnded(() => waiting.availableToAll());
  const seen = keptSeenLately(readModel, edge);
  const others = preferOthers(context.preferOthersMs, edge, ({ uuid }, claimant) => {
    const wanted = readModel.queue.requirementsOf(uuid);
    return !wanted || seen().some((worker) => claimantText(worker) !== claimant && couldRun(worker, wanted));
  });
  others.onPassed((uuids) => ifReadable(() => announce(uuids)));

  const hasRoom = (place: QueuedRow) => !caps.reached(place);

  /** Jobs may be had that could not be. Those that back off or are being taken are told of when that is over. */
  function announce(uuids: readonly string[]): void {
    const places = waiting.anyAsleep() ? uuids.flatMap(placeOf) : [];
    waiting.available(places.filter((place) => isFree(place.uuid) && hasRoom(place)));
  }

  /** What caps kept back and may be given now wakes claims: the first job of each list, since not all claims fit all. */
  function lookForRoom(): void {
    const { owners, repositories } = caps.roomAgain();
    if (owners.length === 0 && repositories.length === 0) return;
    const heads = waiting.anyAsleep()
      ? [...owners.flatMap(order.headsOfOwner), ...repositories.flatMap(order.headsOfRepository)]
      : [];
    waiting.available(heads.filter((place) => isFree(place.uuid) && hasRoom(place)));
  }

  /** Whether a queued job may be taken here and now. */
  function isFree(uuid: string): boolean {
    return !taken.has(uuid) && !context.backOffs?.holds(uuid);
  }

  const placeOf = (uuid: string): QueuedRow[] => {
    const place = readModel.queue.placeOfJob(uuid);
    return place ? [place] : [];
  };

  /** What is looked at of an offer: nothing while old servers may be beside this one, whose workers offer nothing. */
  const offering = ({ offer }: Hold) => (context.sharesRuns ? { has: offer } : undefined);

  async function start(caller: Caller, uuid: string, hold: Hold): Promise<Executed> {
    const claimed = await streams.execute(caller, uuid, {
      kind: 'start',
      worker: caller.principal,
      tokenDigest: hold.tokenDigest,
      tokenMade: hold.tokenMade,
      workerName: hold.workerName,
      offering: offering(hold),
      leaseMs: hold.leaseMs,
      waited: context.backOffs?.waited(uuid),
      now: edge.now(),
    });
    if (claimed.changed && !hold.tokenMade) given.set(hold.tokenDigest, uuid);
    return claimed;
  }

  async function take(caller: Caller, place: QueuedRow, hold: Hold, waits: Waiting): Promise<Claimed | undefined> {
    const { uuid } = place;
    taken.set(uuid, place);
    waits.takes();
    try {
      const claimed = await start(caller, uuid, hold);
      void release(uuid, claimed.position, hold.tokenDigest);
      return claimed;
    } catch (error) {
      // Nobody is given it; it is not tried again while this process runs.
      if (error instanceof MemoirError && error.reason === 'PARAMETERS_TOO_DEEP') return undefined;
      // Another server was first, it was cancelled, or it asks for more now: the read model will know soon.
      if (error instanceof MemoirError && (outdated.has(error.reason) || error.code === 'NOT_FOUND')) {
        void releaseAtEnd(uuid);
        return undefined;
      }
      free(uuid);
      throw error;
    }
  }

  /** A job is no longer being taken: whoever passed it over meanwhile is told if it is still queued. */
  function free(uuid: string): void {
    const places = taken.delete(uuid) ? placeOf(uuid).filter(hasRoom) : [];
    if (places.length > 0) waiting.available(places);
    lookForRoom();
  }

  async function release(uuid: string, position: number, tokenDigest?: string): Promise<void> {
    await readModel.waitFor(position).catch(() => undefined);
    free(uuid);
    if (tokenDigest !== undefined && given.get(tokenDigest) === uuid) given.delete(tokenDigest);
  }

  async function releaseAtEnd(uuid: string): Promise<void> {
    try {
      await release(uuid, await store.end());
    } catch {
      // The store cannot tell now; at worst the job is tried again in vain.
      free(uuid);
    }
  }

  /** The job that a worker is kept free for, unless that is given to nobody now. */
  function keptFor(worker: WorkerId): QueuedRow | undefined {
    const uuid = context.reservations.jobOf(worker);
    const place = uuid === undefined ? undefined : readModel.queue.placeOfJob(uuid);
    return place && isFree(place.uuid) && hasRoom(place) && !pauses.of(place.repository) ? place : undefined;
  }

  /** Whether a worker is to be given a job that fits it. */
  function suits(worker: WorkerId, place: QueuedRow): Suits {
    const kept = keptFor(worker);
    if (kept && kept.uuid !== place.uuid) return 'no';
    const claimant = claimantText(worker);
    if (place.lostBy !== claimant) return 'well';
    return others.mayHave(place, claimant) ? 'else' : 'no';
  }

  /** Whether the offer has the secrets of a job for everybody who wants it, of whom its list knows one alone. */
  function isGranted({ offer }: Hold, { uuid }: QueuedRow): boolean {
    // Without any it fits no list of jobs with some.
    if (!context.sharesRuns || !offer || offer.secrets.length === 0) return true;
    const row = readModel.jobs.get(uuid);
    if (!row?.secrets) return true;
    const interested = [...new Set(readModel.jobs.interests(row).map(({ principal }) => principal))];
    return hasKind(offer, requirementsOf(jobFromRow(row), interested));
  }

  async function takeFirst(caller: Caller, wish: Claim, wanting: Wanting, waits: Waiting, signal: AbortSignal) {
    const worker = { principal: caller.principal, workerName: wish.workerName };
    const kept = keptFor(worker);
    if (kept) {
      if (order.gives(wanting, kept) && isGranted(wish, kept)) return take(caller, kept, wish, waits);
      context.reservations.refused(worker);
    }
    for (const place of order.places(wanting)) {
      if (signal.aborted) return undefined;
      const may = isFree(place.uuid) && hasRoom(place) && suits(worker, place) !== 'no' && isGranted(wish, place);
      const claimed = may ? await take(caller, place, wish, waits) : undefined;
      if (!claimed) continue;
      const { offer, total, repositories } = wish;
      if (total && context.sharesRuns) {
        const whole = { ...wanting, offer: { has: total } };
        const beyond = () => order.beyond(whole, { has: offer });
        context.reservations.given({ ...worker, total, offer, repositories }, place, beyond);
      }
      return claimed;
    }
    return undefined;
  }

  /** Reads up to the end of the log, where a claim with the token may be that another server took. Those of this one are known. */
  async function seeClaims({ tokenMade }: Hold): Promise<void> {
    if (!tokenMade && !store.exclusive) await written.catchUp(await store.end());
  }

  /**
   * The job whose standing attempt was claimed with the token by the same principal, as far as this server has seen.
   * @throws MemoirError ATTEMPT_ENDED if the attempt has ended and its job is queued again: a token names one attempt
   */
  async function standing(caller: Caller, { tokenDigest, tokenMade }: Hold): Promise<Claimed | undefined> {
    if (tokenMade) return undefined;
    const here = given.get(tokenDigest);
    for (const uuid of [...(here === undefined ? [] : [here]), ...readModel.claims.uuidsOf(tokenDigest)]) {
      const record: JobRecord | undefined = await streams.load(uuid);
      if (record && !record.deleted && isSameClaim(record, { worker: caller.principal, tokenDigest })) {
        return { record, position: await store.end() };
      }
      if (record?.job.state === JobState.QUEUED && record.attempt?.worker === caller.principal) {
        const used = usedToken(record, { worker: caller.principal, tokenDigest });
        if (used) throw used;
      }
    }
    return undefined;
  }

  /** The repositories to look for jobs of, empty for all. */
  function claimable({ access, principal }: Caller, asked: readonly string[]): readonly string[] {
    if (access.worksAll) return asked;
    const those = asked.length > 0 ? asked : context.repositories.names();
    const may = those.filter((repository) => access.works(repository));
    if (may.length > 0) return may;
    // The same whether those that were asked for are configured or not.
    throw new MemoirError(
      'PERMISSION_DENIED',
      'NOT_A_WORKER',
      `${quote(principal)} may not run jobs of ${asked.length > 0 ? 'the repositories asked for' : 'any repository'}: it has no role worker there`,
    );
  }

  const isDrained = ({ principal }: Caller, workerName: string) =>
    workerName !== '' && readModel.workers.isDrained({ principal, workerName });

  /** @throws MemoirError if as many run as may of those that the job counts to */
  function checkCaps(uuid: string, owner: string): void {
    const place = readModel.queue.placeOfJob(uuid);
    const reached = place && caps.reached(place);
    if (reached) throw capError(uuid, reached, place.owner === owner);
  }

  /** @throws MemoirError if the worker is given nothing now, or the job is given to nobody */
  function checkGiven(caller: Caller, uuid: string, { workerName }: Hold): void {
    if (isDrained(caller, workerName)) {
      const message = `worker ${quote(workerName)} of ${quote(caller.principal)} is drained and given no jobs`;
      throw new MemoirError('FAILED_PRECONDITION', 'WORKER_DRAINED', message);
    }
    const facts = readModel.jobs.facts(uuid);
    if (!facts || !caller.access.works(facts.repository)) return;
    checkCaps(uuid, facts.owner);
    const pause = pauses.of(facts.repository);
    if (!pause) return;
    const message = `jobs of ${quote(facts.repository)} are given to nobody now: ${quote(pause.repositories)} is paused`;
    throw new MemoirError('FAILED_PRECONDITION', 'QUEUE_PAUSED', message, { metadata: { uuid } });
  }

  return {
    isDrained,
    async claim(caller, uuid, hold) {
      await seeClaims(hold);
      return serially(hold.tokenDigest, async () => {
        const held = await standing(caller, hold);
        if (held && held.record.job.uuid !== uuid) {
          throw new MemoirError(
            'FAILED_PRECONDITION',
            'TOKEN_IN_USE',
            `the claim token holds job ${held.record.job.uuid}, not ${uuid}; make a new one for each job`,
            { field: 'claim_token', metadata: { uuid: held.record.job.uuid } },
          );
        }
        checkGiven(caller, uuid, hold);
        const own = !taken.has(uuid);
        if (own) taken.set(uuid, readModel.queue.placeOfJob(uuid));
        try {
          const claimed = await start(caller, uuid, hold);
          if (claimed.changed) void release(uuid, claimed.position, hold.tokenDigest);
          else if (own) free(uuid);
          return claimed;
        } catch (error) {
          if (own) free(uuid);
          throw error;
        }
      });
    },
    async claimNext(caller, wish, signal) {
      const repositories = claimable(caller, wish.repositories);
      const until = edge.monotonic() + wish.waitMs;
      const among = new Set(repositories);
      const wanting = {
        offer: offering(wish),
        repository: (name: string) =>
          (among.size === 0 || among.has(name)) && !pauses.of(name) && caps.repository(name),
        owner: caps.owner,
      };
      const kind = JSON.stringify([repositories, wish.offer ? toJson(OfferSchema, wish.offer) : null]);
      const drained = () => isDrained(caller, wish.workerName);
      // A drained worker is woken by no job.
      const worker = { principal: caller.principal, workerName: wish.workerName };
      const enter = (none: boolean) => {
        if (none) return waiting.enter('', () => false);
        return waiting.enter(
          kind,
          (place) => order.gives(wanting, place) && isGranted(wish, place),
          (place) => suits(worker, place),
        );
      };
      let waitsForNone = drained();
      let waits = enter(waitsForNone);
      let sawOwn = false;
      let sawAll = wish.waitMs > 0;
      const claim = () =>
        serially(wish.tokenDigest, async () => {
          const before = await standing(caller, wish);
          return before ?? (drained() ? undefined : await takeFirst(caller, wish, wanting, waits, signal));
        });
      try {
        await seeClaims(wish);
        while (!signal.aborted) {
          const claimed = await claim();
          if (claimed) return claimed;
          // The queue is the read model's; who queued a job here can claim it at once.
          if (!sawOwn && !written.hasAllOf(caller.principal)) {
            sawOwn = true;
            await written.seesAllOf(caller.principal, () => signal);
            continue;
          }
          const left = until - edge.monotonic();
          if (left <= 0 && sawAll) return undefined;
          if (left <= 0) {
            // Who does not wait is told that there is nothing only of what was acknowledged to anybody until now.
            sawAll = true;
            const end = await store.end().catch(() => undefined);
            if (end === undefined) return undefined;
            await written.catchUp(end);
            continue;
          }
          if (waitsForNone === drained()) await waits.sleep(signal, left);
          else {
            waits.leave();
            waitsForNone = !waitsForNone;
            waits = enter(waitsForNone);
          }
        }
        return undefined;
      } finally {
        waits.leave();
      }
    },
  };
}
