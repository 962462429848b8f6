import { create } from '@bufbuild/protobuf';
import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  JobCancelledSchema,
  type JobJoined,
  type JobLeft,
  JobLeftSchema,
  type JobUpdated,
  JobUpdatedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import { MinimaSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Decision, DecisionSchema } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError, quote } from '../errors.js';
import type { JobEvent } from '../events.js';
import { isFinished, wrongState } from '../job-state.js';
import type { JoinCommand, LeaveCommand, Leaver } from './commands.js';
import { type Interests, isSame, type Standing } from './interests.js';
import { isWithin, largest } from './minima.js';

/** Most interests that stand on a job. */
export const mostInterests = 10_000;

/** A job and who wants it. */
export type Wanted = {
  readonly job: Job;
  readonly interests: Interests;
  /** The last attempt to run it; undefined if it was never claimed. */
  readonly attempt: unknown;
};

/** Whether as many want a job as may. */
export function isFull({ standing }: Interests): boolean {
  return standing.length >= mostInterests;
}

/** Whether more than one want a job, and not all of them are a principal's. */
export function isShared({ standing }: Interests, principal: string): boolean {
  return standing.length > 1 && standing.some((one) => one.principal !== principal);
}

/** The FAILED_PRECONDITION for a job that is not cancelled for all who want it. */
export function wantedByOthers({ job, interests: { standing } }: Pick<Wanted, 'job' | 'interests'>): MemoirError {
  const message = `${standing.length} want job ${job.uuid}: it is cancelled for all of them only with for_everyone, by who administers its repository`;
  return new MemoirError('FAILED_PRECONDITION', 'WANTED_BY_OTHERS', message, {
    field: 'for_everyone',
    metadata: { uuid: job.uuid, interest_count: String(standing.length) },
  });
}

/**
 * Whether an interest stands already that is all the request would be: of the same principal, with the same submit_id; or, where neither has
 * one, of a priority not lower, asking for no less of the place where the job runs unless that is decided, and not ending sooner while the
 * job waits. How long both may wait is compared as such: who asks again does not begin it anew. Labels do not matter. What was refused to an
 * interest covers what is refused again.
 */
export function isCovered(wanted: Wanted, joined: JobJoined, raisesMinima: JoinCommand['raisesMinima']): boolean {
  const { job, interests, attempt } = wanted;
  const { principal, submitId, priority, minima, limits } = joined;
  const queuedMs = limits?.queued && durationMs(limits.queued);
  return interests.standing.some((one) => {
    if (one.principal !== principal) return false;
    if (submitId !== '') return one.id === submitId;
    if (one.named || one.priority < priority) return false;
    if (attempt) return true;
    const granted = isWithin(minima, one.minima) || isWithin(minima, job.minima);
    const again =
      one.refused && isWithin(minima, one.refused) && refusedMinima(wanted, joined, raisesMinima) !== undefined;
    if (!granted && !again) return false;
    return one.queuedMs === undefined || (queuedMs !== undefined && queuedMs <= one.queuedMs);
  });
}

/** Why the job does not come to ask for what a request asks of the place where it runs, for people; undefined if it does, or does already. */
export function refusedMinima(
  { job, attempt }: Wanted,
  { minima }: JobJoined,
  raisesMinima: JoinCommand['raisesMinima'],
): string | undefined {
  if (attempt || isWithin(minima, job.minima)) return undefined;
  const raised = largest([job.minima, minima]);
  return raised && raisesMinima(job, raised);
}

/**
 * What comes of the wish to be answered with an unfinished job: that it is joined; nothing if the wish stands already, was recorded by its submit_id
 * before, whatever became of it and of the job, or if as many want the job as may.
 */
export function join(wanted: Wanted, command: JoinCommand): readonly JobEvent[] | MemoirError {
  const { job, interests, attempt } = wanted;
  const { joined, state, raisesMinima } = command;
  const own = { id: joined.submitId, principal: joined.principal };
  const isOwn = (one: Parameters<typeof isSame>[0]) => isSame(one, own);
  // What was recorded of this request is its answer, whatever became of the job since: another server may have carried the same request out.
  if (joined.submitId !== '' && (interests.standing.some(isOwn) || interests.ended.some(isOwn))) return [];
  if (isFinished(job.state) || (state !== undefined && job.state !== state)) return changedMeanwhile(job);
  if (isCovered(wanted, joined, raisesMinima) || isFull(interests)) return [];
  const event: JobJoined = { ...joined };
  if (joined.priority > job.priority || interests.standing.length === 0) event.resultingPriority = joined.priority;
  if (!attempt && !isWithin(joined.minima, job.minima)) {
    const refused = refusedMinima(wanted, joined, raisesMinima);
    const minima = largest([job.minima, joined.minima]);
    if (refused !== undefined) event.decision = notRaised(joined.decision, refused);
    else if (minima) event.resultingMinima = minima;
  }
  return [event];
}

/** The decision, which says too that the job does not come to ask for what the request does. */
export function notRaised(decision: Decision | undefined, why: string): Decision {
  const told = decision ?? create(DecisionSchema);
  return {
    ...told,
    summary: `${told.summary}; it is not made to ask for more of the place where it runs, since ${why}`,
  };
}

/** Whether an error says that a job is no longer what a decision took it for. */
export function isChangedMeanwhile(error: unknown): boolean {
  return error instanceof MemoirError && error.reason === 'JOB_CHANGED';
}

function changedMeanwhile({ uuid }: Job): MemoirError {
  return new MemoirError('ABORTED', 'JOB_CHANGED', `job ${uuid} is no longer as it was; try again`);
}

/** What comes of it that interests end: JobLeft for each, and with the last that the job is cancelled. */
export function leave(wanted: Wanted, command: LeaveCommand, at: Timestamp): readonly JobEvent[] | MemoirError {
  const { job, interests, attempt } = wanted;
  const ended = interests.ended.filter((one) => isMeant(one, command));
  // What waits no longer is not ended for waiting too long.
  if (command.reason === 'QUEUE_LIMIT' && attempt) return [];
  if (job.state === JobState.CANCELLED) return [];
  if (isFinished(job.state)) {
    return command.interest !== undefined && ended.length > 0 ? [] : wrongState(job, JobState.CANCELLED);
  }
  const leaving = chosen(wanted, command, 'withdraw');
  if (leaving instanceof MemoirError) {
    return leaving.reason === 'NO_INTEREST' && ended.length > 0 ? [] : leaving;
  }
  const events: JobEvent[] = [];
  let rest: readonly Standing[] = interests.standing;
  let now: Pick<Job, 'priority' | 'minima'> = job;
  for (const one of leaving) {
    const [first] = rest;
    rest = rest.filter((other) => other !== one);
    const event = leftBy(one, command, at);
    if (one === first) passTurn(event, rest);
    now = adjust(event, wanted, rest, now);
    events.push(event);
  }
  if (rest.length > 0) return events;
  const { principal: cancelledBy, cascadeFrom, cascade } = command;
  const reason = command.reason === 'CASCADE' ? 'WITHDRAWN' : command.reason;
  return [...events, create(JobCancelledSchema, { cancelledBy, cascadeFrom, cascade, reason, cancelledAt: at })];
}

function leftBy({ id, principal }: Standing, { reason, cascade }: LeaveCommand, at: Timestamp): JobLeft {
  return create(JobLeftSchema, { interest: id, principal, reason, cascade, leftAt: at });
}

/** Says in the event whose turn in the queue the job takes, now that the one has left that waited longest. */
function passTurn(event: JobLeft, [next]: readonly Standing[]): void {
  if (!next || next.principal === event.principal) return;
  event.turnOf = next.principal;
  if (next.weight !== undefined) event.turnWeight = next.weight;
}

/** Says in the event what the job has of those that are left. */
function adjust(
  event: JobLeft,
  { attempt }: Wanted,
  rest: readonly Standing[],
  now: Pick<Job, 'priority' | 'minima'>,
): Pick<Job, 'priority' | 'minima'> {
  if (rest.length === 0) return now;
  if (rest[0]?.since) event.waitingSince = rest[0].since;
  const priority = Math.max(...rest.map((one) => one.priority));
  if (priority !== now.priority) event.resultingPriority = priority;
  if (attempt) return { ...now, priority };
  const minima = largest(rest.map((one) => one.minima)) ?? create(MinimaSchema);
  if (!isWithin(now.minima, minima) || !isWithin(minima, now.minima)) event.resultingMinima = minima;
  return { priority, minima };
}

/** The event that sets the priority of the caller's interests, one for each. */
export function reprioritise(
  wanted: Wanted,
  command: Choice & { readonly priority: number },
  at: Timestamp,
): readonly JobUpdated[] | MemoirError {
  const { job, interests } = wanted;
  const { priority } = command;
  const meant = chosen(wanted, command, 'change the priority of');
  if (meant instanceof MemoirError) return meant;
  // Of the only one it is that of the job, which every version understands.
  if (interests.standing.length === meant.length) {
    return [create(JobUpdatedSchema, { priority, updatedAt: at, updatedBy: command.principal })];
  }
  const now = new Map(interests.standing.map((one) => [one, one.priority]));
  let before = job.priority;
  return meant.map((one) => {
    now.set(one, priority);
    const highest = Math.max(...now.values());
    const event = create(JobUpdatedSchema, {
      priority,
      interest: one.id,
      updatedBy: one.principal,
      updatedAt: at,
      ...(highest !== before && { resultingPriority: highest }),
    });
    before = highest;
    return event;
  });
}

/** Which interests are meant. */
type Choice = Pick<LeaveCommand, 'principal' | 'of' | 'interest' | 'all'>;

function isMeant(one: Known, { principal, of = [{ principal }], interest }: Choice): boolean {
  return (interest === undefined || one.id === interest) && isAmong(one, of);
}

/** An interest, of which it may not be known since when it stands, or stood. */
type Known = Pick<Standing, 'id' | 'principal'> & Partial<Pick<Standing, 'since'>>;

/** Whether an interest is one of those that leave; one of which it is not known since when it stands is. */
export function isAmong(one: Known, of: readonly Leaver[]): boolean {
  const began = one.since && timestampMs(one.since);
  return of.some(({ principal: whose, since, until }) => {
    if (whose !== one.principal) return false;
    return began === undefined || ((since ?? began) <= began && began <= (until ?? began));
  });
}

/**
 * The interests that are meant: the named one; all; or, where none is named, the only one, or else those without a submit_id.
 * @returns NO_INTEREST if there is none, INTEREST_AMBIGUOUS if all of several have names
 */
function chosen({ job, interests }: Wanted, choice: Choice, deed: string): readonly Standing[] | MemoirError {
  const { principal, interest, all } = choice;
  const own = interests.standing.filter((one) => isMeant(one, choice));
  if (own.length === 0) {
    const which = interest === undefined ? 'no interest' : `no interest ${quote(interest)}`;
    const message = `${quote(principal)} has ${which} in job ${job.uuid} to ${deed}`;
    return new MemoirError('FAILED_PRECONDITION', 'NO_INTEREST', message, {
      ...(interest !== undefined && { field: 'interest' }),
      metadata: { uuid: job.uuid, interest_count: String(interests.standing.length) },
    });
  }
  if (own.length === 1 || interest !== undefined || all) return own;
  const unnamed = own.filter(({ named }) => !named);
  if (unnamed.length > 0) return unnamed;
  const names = own.slice(0, mostNames).map(({ id }) => quote(id));
  const more = own.length > mostNames ? ` and ${own.length - mostNames} more` : '';
  return new MemoirError(
    'FAILED_PRECONDITION',
    'INTEREST_AMBIGUOUS',
    `${quote(principal)} has ${own.length} interests in job ${job.uuid}: ${names.join(', ')}${more}; say which to ${deed}`,
    { field: 'interest', metadata: { uuid: job.uuid } },
  );
}

/** Most names of interests in a message. */
const mostNames = 10;
