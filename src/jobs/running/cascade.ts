import type { ParentRow } from '../../../projections/read-model/components.js';
import { permission } from '../../domain/access.js';
import { MemoirError } from '../../domain/errors.js';
import {
  type Above,
  allLeave,
  type CascadePlan,
  leaversOf,
  planCascade,
  type Reached,
  standsFor,
} from '../../domain/interests/cascade.js';
import type { Leaver } from '../../domain/interests/commands.js';
import { isAmong } from '../../domain/interests/decide-interests.js';
import { isFinished, type JobRecord } from '../../domain/job.js';
import { type Position, start } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { Executed } from '../job-streams.js';

/** What a cascade cancelled below the job that it began with. */
export type Cascaded = { readonly cancelled: readonly string[]; readonly position: Position };

/** Whether a job is cancelled because of a call like this one. */
export function byCall({ job, cancelled }: JobRecord, caller: Caller, from: string, cascade: boolean): boolean {
  const same = cancelled?.cascadeFrom === from && Boolean(cancelled.cascade) === cascade;
  return job.cancelledBy === caller.principal && same;
}

/**
 * Withdraws what a cancelled job wanted of its components (`leaversOf`), unless another parent of a component that goes on stands for the same
 * principal. What is cancelled by that is gone on from; cycles end. A component that finished, does not exist or may not be read is passed over.
 * It is planned by the log to its end, and again after it changed anything, until there is nothing left to do: of two cascades that each spare what
 * the other's jobs want, the later one finds the earlier one's jobs cancelled. Where runs are not shared, every component that the caller may
 * steer is cancelled, and those below finished ones are reached too.
 * @throws MemoirError UNAVAILABLE if the read model does not come to the end of the log; the same call again goes on
 */
export async function cascadeFrom(context: JobsContext, caller: Caller, root: JobRecord): Promise<Cascaded> {
  if (!context.sharesRuns) return cancelBelow(context, caller, root);
  let position = start;
  for (;;) {
    await context.written.catchUp(await context.store.end());
    const reached = await reach(context, caller, root);
    const plan = planCascade(reached, (uuid) => context.readModel.components.parents(uuid).map(aboveOf));
    const last = await carryOut(context, caller, root.job.uuid, plan);
    if (last === undefined) {
      const cancelled = reached.filter((one) => one.cancelled && one.uuid !== root.job.uuid);
      return { cancelled: cancelled.map(({ uuid }) => uuid), position };
    }
    position = Math.max(position, last);
  }
}

/**
 * Withdraws what is planned. What comes out otherwise, since others changed it meanwhile, counts as it came out for all that follows. Gives the
 * position of the last change; undefined if nothing was changed.
 */
async function carryOut(
  context: JobsContext,
  caller: Caller,
  from: string,
  { order, going, leavers }: CascadePlan,
): Promise<Position | undefined> {
  const gone = new Set(going);
  let last: Position | undefined;
  for (const one of order) {
    if (one.cancelled) continue;
    gone.delete(one.uuid);
    const of = leavers(one, (uuid) => gone.has(uuid));
    if (!one.standing.some((each) => isAmong(each, of))) continue;
    const done = await withdraw(context, caller, one.uuid, from, of);
    if (done?.changed) last = Math.max(last ?? start, done.position);
    if (done && byCall(done.record, caller, from, true)) gone.add(one.uuid);
  }
  return last;
}

/** Undefined if the job finished meanwhile, or if none of them wants it any more. */
async function withdraw(
  { streams, edge }: JobsContext,
  caller: Caller,
  uuid: string,
  from: string,
  of: readonly Leaver[],
): Promise<Executed | undefined> {
  const { principal } = caller;
  const which = { reason: 'CASCADE', all: true, of, cascadeFrom: from, cascade: true } as const;
  try {
    return await streams.execute(caller, uuid, {
      kind: 'leave',
      principal,
      ...which,
      now: edge.now(),
    });
  } catch (error) {
    if (error instanceof MemoirError && passedOver.has(error.code)) return undefined;
    throw error;
  }
}

const passedOver: ReadonlySet<MemoirError['code']> = new Set(['FAILED_PRECONDITION', 'NOT_FOUND', 'PERMISSION_DENIED']);

/** What the cascade comes to: the job, its components, and those of what may be cancelled, as far as that can be told without other parents. */
async function reach({ streams }: JobsContext, caller: Caller, root: JobRecord): Promise<readonly Reached[]> {
  type Found = { readonly one: Reached; readonly leavers: Leaver[]; open: boolean };
  const { uuid: from } = root.job;
  const found = new Map<string, Found | undefined>();
  const open = [reachedOf(root, caller, true)];
  found.set(from, { one: open[0] as Reached, leavers: [], open: true });

  async function look(uuid: string): Promise<Found | undefined> {
    const record = await streams.loadFor(caller, uuid, 'leave');
    if (!record || record.deleted) return undefined;
    const cancelled = byCall(record, caller, from, true);
    if (isFinished(record.job.state) && !cancelled) return undefined;
    return { one: reachedOf(record, caller, cancelled), leavers: [], open: false };
  }

  for (let parent = open.pop(); parent !== undefined; parent = open.pop()) {
    for (const uuid of new Set(parent.components)) {
      if (!found.has(uuid)) found.set(uuid, await look(uuid));
      const below = found.get(uuid);
      if (!below || below.open) continue;
      below.leavers.push(...parent.leavers);
      if (!below.one.cancelled && !allLeave(below.one.standing, below.leavers)) continue;
      below.open = true;
      open.push(below.one);
    }
  }
  return [...found.values()].flatMap((each) => each?.one ?? []);
}

function reachedOf(record: JobRecord, { principal }: Caller, cancelled: boolean): Reached {
  return {
    uuid: record.job.uuid,
    cancelled,
    components: Object.values(record.job.components),
    standing: record.interests.standing,
    standsFor: standsFor(record),
    leavers: leaversOf(record, principal),
  };
}

/** Of a job that an earlier cascade cancelled it is not known whether its owner left it before; only what is certain ends. */
function aboveOf({ uuid, owner, cancelled, cancelledBy, cancelledAt, workers }: ParentRow): Above {
  const own = cancelledBy === owner ? [{ principal: owner, until: cancelledAt }] : [];
  return {
    uuid,
    cancelled,
    standsFor: new Set([owner, ...workers.map(({ worker }) => worker)]),
    leavers: [...own, ...workers.map(({ worker: principal, startedAt: since }) => ({ principal, since }))],
  };
}

/** Cancels all below a job that the caller may steer. */
async function cancelBelow({ streams, edge }: JobsContext, caller: Caller, root: JobRecord): Promise<Cascaded> {
  const { uuid: from } = root.job;
  const { principal } = caller;
  const cancelled: string[] = [];
  let position = start;
  const reached = new Set([from]);
  const open = Object.values(root.job.components);
  for (let uuid = open.pop(); uuid !== undefined; uuid = open.pop()) {
    if (reached.has(uuid)) continue;
    reached.add(uuid);
    const record = await streams.loadFor(caller, uuid, 'leave');
    if (!record || record.deleted || permission(caller.access, record.job, 'steer') !== 'granted') continue;
    if (isFinished(record.job.state)) {
      if (byCall(record, caller, from, true)) cancelled.push(uuid);
      open.push(...Object.values(record.job.components));
      continue;
    }
    try {
      const command = { kind: 'cancel', principal, cascadeFrom: from, cascade: true, now: edge.now() } as const;
      const done = await streams.execute(caller, uuid, command);
      position = Math.max(position, done.position);
      if (done.changed && byCall(done.record, caller, from, true)) cancelled.push(uuid);
      open.push(...Object.values(done.record.job.components));
    } catch (error) {
      // It finished meanwhile.
      if (!(error instanceof MemoirError)) throw error;
    }
  }
  return { cancelled, position };
}
