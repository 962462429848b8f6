import { permission } from '../../domain/access.js';
import type { Command } from '../../domain/commands.js';
import { invalid, quote } from '../../domain/errors.js';
import { isShared } from '../../domain/interests/decide-interests.js';
import type { JobRecord } from '../../domain/job.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { checkLength, textLimits } from '../limits.js';
import { denied } from '../reading/permit.js';
import { byCall, cascadeFrom } from './cascade.js';

/** What is to be cancelled. */
export type Cancellation = {
  /** Whether what the job wanted of its components is withdrawn too. */
  readonly cascade: boolean;
  /** Which of the caller's interests; empty for the only one, or those without a submit_id. */
  readonly interest: string;
  /** Whether all of the caller's are meant. */
  readonly allMine: boolean;
  /** Whether the job is cancelled whoever else wants it. */
  readonly forEveryone: boolean;
};

/** What was withdrawn and cancelled. */
export type Cancelled = {
  readonly record: JobRecord;
  /** Uuids of the jobs that this call cancelled, or the same one before. */
  readonly cancelled: readonly string[];
  /** The caller's interests in the job that this call withdrew. */
  readonly withdrawn: readonly string[];
  readonly position: Position;
};

/** @throws MemoirError INVALID_ARGUMENT naming fields that exclude each other */
export function checkCancellation({ interest, allMine, forEveryone }: Cancellation): void {
  checkLength('interest', interest, textLimits.submitId);
  if (interest !== '' && (allMine || forEveryone)) {
    const other = allMine ? 'all_mine' : 'for_everyone';
    throw invalid(
      'interest',
      'CONFLICTING_FIELDS',
      `interest ${quote(interest)} cannot be given together with ${other}`,
    );
  }
  if (allMine && forEveryone) {
    throw invalid('for_everyone', 'CONFLICTING_FIELDS', 'all_mine and for_everyone cannot be given together');
  }
}

/**
 * Withdraws the caller's interest in a job, which is cancelled with the last one, or cancels it outright. With `cascade`, and if it was cancelled
 * by that, what it wanted of its components is withdrawn too (`cascade.ts`). The same call again, such as after a lost answer, is answered as
 * the first time. Who has no interest in a job cancels it as its owner would, if it may steer it and no more than one wants it.
 * @throws MemoirError as `checkCancellation`; NOT_FOUND; PERMISSION_DENIED; FAILED_PRECONDITION if the job is complete or failed, if it is not
 * said which interest is meant, if there is none, or WANTED_BY_OTHERS; nothing is changed then
 */
export async function cancelJob(
  context: JobsContext,
  caller: Caller,
  uuid: string,
  cancellation: Cancellation,
): Promise<Cancelled> {
  checkCancellation(cancellation);
  const { streams } = context;
  const { cascade } = cancellation;
  const before = await streams.loadFor(caller, uuid, 'leave');
  const root = await streams.execute(caller, uuid, commandOf(context, caller, before, cancellation));
  const own = (record: JobRecord | undefined) =>
    record?.interests.standing.filter(({ principal }) => principal === caller.principal).map(({ id }) => id) ?? [];
  const still = new Set(own(root.record));
  const withdrawn = root.changed ? own(before).filter((id) => !still.has(id)) : [];
  const answer = { record: root.record, withdrawn, position: root.position };
  const cancelled = byCall(root.record, caller, '', cascade) ? [uuid] : [];
  // Also from one that the caller cancelled without a cascade before.
  if (!cascade || root.record.job.cancelledBy !== caller.principal) return { ...answer, cancelled };
  const below = await cascadeFrom(context, caller, root.record);
  return {
    ...answer,
    cancelled: [...cancelled, ...below.cancelled],
    position: Math.max(root.position, below.position),
  };
}

function commandOf(
  { sharesRuns, edge }: JobsContext,
  caller: Caller,
  record: JobRecord | undefined,
  { cascade, interest, allMine, forEveryone }: Cancellation,
): Command {
  const { principal, access } = caller;
  const common = { principal, cascadeFrom: '', cascade, now: edge.now() };
  const cancel = { kind: 'cancel', ...common } as const;
  if (!record) return cancel;
  const { job, interests } = record;
  const administers = access.administers(job.repository);
  if (forEveryone) {
    if (permission(access, job, 'steer') !== 'granted') return cancel;
    if (!administers && isShared(interests, principal)) {
      throw denied(caller, `cancel job ${job.uuid} for_everyone: ${interests.standing.length} want it`);
    }
    return { ...cancel, unlessShared: !administers, ...(sharesRuns && { reason: 'FOR_EVERYONE' }) };
  }
  const isOwn = (one: { readonly principal: string }) => one.principal === principal;
  const wanted = interests.standing.some(isOwn) || interests.ended.some(isOwn);
  const leave = { kind: 'leave', ...common, reason: 'WITHDRAWN', all: allMine } as const;
  const named = interests.standing.some((one) => isOwn(one) && one.id === interest);
  if (interest !== '' && (sharesRuns || !named)) return { ...leave, interest };
  if (!sharesRuns || !wanted) return { ...cancel, unlessShared: true };
  return leave;
}
