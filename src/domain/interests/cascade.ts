import { timestampMs } from '@bufbuild/protobuf/wkt';
import { attemptsOf } from '../attempt.js';
import type { JobRecord } from '../job.js';
import type { Leaver } from './commands.js';
import { isAmong } from './decide-interests.js';
import type { Standing } from './interests.js';

/** What a job is to its components. */
export type Above = {
  readonly uuid: string;
  /** Whether it was cancelled; it is unfinished otherwise. */
  readonly cancelled: boolean;
  /** Principals for whom it has its components, while it is unfinished: its owner, and its workers. */
  readonly standsFor: ReadonlySet<string>;
  /** Whose interests in its components end once a cascade has cancelled it. */
  readonly leavers: readonly Leaver[];
};

/** A job that a cascade came to: cancelled by it, or unfinished. */
export type Reached = Above & {
  readonly components: readonly string[];
  readonly standing: readonly Standing[];
};

/** What a cascade is to do. */
export type CascadePlan = {
  /** What it came to, each behind the parents by which it came to it, but for cycles. */
  readonly order: readonly Reached[];
  /** Uuids of the unfinished ones that nobody will want any more. */
  readonly going: ReadonlySet<string>;
  /** Whose interests in one of them end, if of the others those are cancelled that `isGone` says. */
  leavers(one: Reached, isGone: (uuid: string) => boolean): readonly Leaver[];
};

/**
 * Whose interests in its components a job stood for, if `caller` cancels it or did. The workers': what they wanted before they ran the job, they
 * did not want for it. The owner's, if the owner is the caller, or left with a cascade what it wanted until then, or did not leave at all, so
 * that somebody cancelled the job for everyone who may. Who left what others still wanted, without a cascade, said nothing of components.
 */
export function leaversOf(record: JobRecord, caller: string): readonly Leaver[] {
  const workers = attemptsOf(record).map(({ worker, startedAt }) => ({
    principal: worker,
    ...(startedAt && { since: timestampMs(startedAt) }),
  }));
  return [...ownerOf(record, caller), ...workers];
}

function ownerOf({ job: { owner }, interests }: JobRecord, caller: string): readonly Leaver[] {
  const left = interests.ended.filter(({ principal }) => principal === owner);
  if (owner === caller || left.length === 0) return [{ principal: owner }];
  const until = Math.max(...left.map(({ cascadedAt = Number.NEGATIVE_INFINITY }) => cascadedAt));
  return Number.isFinite(until) ? [{ principal: owner, until }] : [];
}

/** For whom an unfinished job has its components. */
export function standsFor(record: JobRecord): ReadonlySet<string> {
  return new Set([record.job.owner, ...attemptsOf(record).map(({ worker }) => worker)]);
}

/** Whether all who want a job are among those who leave. */
export function allLeave(standing: readonly Standing[], leavers: readonly Leaver[]): boolean {
  return standing.every((one) => isAmong(one, leavers));
}

/**
 * Plans a cascade from what it came to and, of each of that, the other parents, which it did not come to. An interest ends only if no parent that
 * goes on stands for its principal, which may need the component and be answered with it by the same interest. What goes on is found by
 * taking all for going and then taking back, until nothing changes, what somebody still wants: so that jobs which only have each other as components go together.
 */
export function planCascade(reached: readonly Reached[], othersOf: (uuid: string) => readonly Above[]): CascadePlan {
  const parents = new Map<string, Reached[]>();
  for (const parent of reached) {
    for (const uuid of new Set(parent.components)) {
      if (uuid !== parent.uuid) parents.set(uuid, [...(parents.get(uuid) ?? []), parent]);
    }
  }
  const known = new Set(reached.map(({ uuid }) => uuid));
  const others = new Map(
    reached
      .filter(({ cancelled }) => !cancelled)
      .map(({ uuid }) => [uuid, othersOf(uuid).filter((one) => !known.has(one.uuid))]),
  );

  function leavers({ uuid }: Reached, isGone: (uuid: string) => boolean): readonly Leaver[] {
    const all: readonly Above[] = [...(parents.get(uuid) ?? []), ...(others.get(uuid) ?? [])];
    const gone = (one: Above) => one.cancelled || isGone(one.uuid);
    const kept = all.filter((one) => !gone(one));
    return all
      .filter(gone)
      .flatMap((one) => one.leavers)
      .filter(({ principal }) => !kept.some((one) => one.standsFor.has(principal)));
  }

  const order = inOrder(reached);
  const going = new Set(reached.filter(({ cancelled }) => !cancelled).map(({ uuid }) => uuid));
  for (let before = -1; before !== going.size; ) {
    before = going.size;
    for (const one of order) {
      if (
        going.has(one.uuid) &&
        !allLeave(
          one.standing,
          leavers(one, (uuid) => going.has(uuid)),
        )
      )
        going.delete(one.uuid);
    }
  }
  return { order, going, leavers };
}

/** Parents before their components, as far as there are no cycles: the reverse of the order in which a depth-first search leaves them. */
function inOrder(reached: readonly Reached[]): readonly Reached[] {
  const byUuid = new Map(reached.map((one) => [one.uuid, one]));
  const seen = new Set<string>();
  const left: Reached[] = [];
  for (const first of reached) {
    if (seen.has(first.uuid)) continue;
    seen.add(first.uuid);
    const way = [{ one: first, next: 0 }];
    for (let at = way.at(-1); at !== undefined; at = way.at(-1)) {
      const uuid = at.one.components[at.next++];
      if (uuid === undefined) {
        left.push(at.one);
        way.pop();
        continue;
      }
      const below = seen.has(uuid) ? undefined : byUuid.get(uuid);
      seen.add(uuid);
      if (below) way.push({ one: below, next: 0 });
    }
  }
  return left.reverse();
}
