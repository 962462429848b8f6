import { timestampMs } from '@bufbuild/protobuf/wkt';
import { permission } from '../../domain/access.js';
import { attemptsOf } from '../../domain/attempt.js';
import type { Command } from '../../domain/commands.js';
import { MemoirError } from '../../domain/errors.js';
import type { Leaver } from '../../domain/interests/commands.js';
import { isFinished, type JobRecord } from '../../domain/job.js';
import { type Position, start } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';

/** What a cascade cancelled below the job that it began with. */
export type Cascaded = { readonly cancelled: readonly string[]; readonly position: Position };

/** Whether a job is cancelled because of a call like this one. */
export function byCall({ job, cancelled }: JobRecord, caller: Caller, from: string, cascade: boolean): boolean {
  const same = cancelled?.cascadeFrom === from && Boolean(cancelled.cascade) === cascade;
  return job.cancelledBy === caller.principal && same;
}

/**
 * Withdraws what a cancelled job wanted of its components: the interests of its owner in them, and those of its workers that are not older than
 * their attempts. What is cancelled by that is gone on from; cycles end. A component that finished, does not exist or may not be read is passed
 * over. Where runs are not shared, every component that the caller may steer is cancelled, and those below finished ones are reached too.
 */
export async function cascadeFrom(context: JobsContext, caller: Caller, root: JobRecord): Promise<Cascaded> {
  const { streams, sharesRuns } = context;
  const { uuid: from } = root.job;
  const cancelled: string[] = [];
  let position = start;
  const reached = new Set([from]);
  const open = componentsOf(root);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { uuid, parent } = next;
    if (reached.has(uuid)) continue;
    reached.add(uuid);
    const record = await streams.loadFor(caller, uuid, 'leave');
    if (!record || record.deleted || !mayReach(caller, record, sharesRuns)) continue;
    if (isFinished(record.job.state)) {
      const before = byCall(record, caller, from, true);
      if (before) cancelled.push(uuid);
      if (before || !sharesRuns) open.push(...componentsOf(record));
      continue;
    }
    try {
      const done = await streams.execute(caller, uuid, commandFor(context, caller, parent, from));
      position = Math.max(position, done.position);
      const ended = byCall(done.record, caller, from, true);
      if (ended && done.changed) cancelled.push(uuid);
      // Where others want it, or want what it is for, it may be reached again from another parent.
      else if (sharesRuns) reached.delete(uuid);
      if (ended || !sharesRuns) open.push(...componentsOf(done.record));
    } catch (error) {
      // It finished meanwhile, or none of them wants it.
      if (!(error instanceof MemoirError)) throw error;
      if (sharesRuns && error.reason === 'NO_INTEREST') reached.delete(uuid);
    }
  }
  return { cancelled, position };
}

type Component = { readonly uuid: string; readonly parent: JobRecord };

function componentsOf(parent: JobRecord): Component[] {
  return Object.values(parent.job.components).map((uuid) => ({ uuid, parent }));
}

function mayReach(caller: Caller, { job }: JobRecord, sharesRuns: boolean | undefined): boolean {
  return sharesRuns === true || permission(caller.access, job, 'steer') === 'granted';
}

function commandFor(
  { sharesRuns, edge }: Pick<JobsContext, 'sharesRuns' | 'edge'>,
  { principal }: Caller,
  parent: JobRecord,
  from: string,
): Command {
  const common = { principal, cascadeFrom: from, cascade: true, now: edge.now() };
  if (!sharesRuns) return { kind: 'cancel', ...common };
  return { kind: 'leave', ...common, reason: 'CASCADE', all: true, of: leaversOf(parent) };
}

/** Whose interests in its components a job stands for. What a worker wanted before it ran the job, it did not want for that. */
function leaversOf(record: JobRecord): readonly Leaver[] {
  const workers = attemptsOf(record).map(({ worker, startedAt }) => ({
    principal: worker,
    ...(startedAt && { since: timestampMs(startedAt) }),
  }));
  return [{ principal: record.job.owner }, ...workers];
}
