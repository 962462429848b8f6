import { create } from '@bufbuild/protobuf';
import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { JobJoined, JobLeft, JobRequested, JobUpdated } from '../../../gen/memoir/events/v1/events_pb.js';
import { type Interest, InterestSchema, type Minima } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { isWithin, minimaOf } from './minima.js';

// What events make of who wants a job. Each gives the new interests, and changes `job`, a copy that nobody else has, to what clients are
// told.

/** A principal's standing wish for a job. Together with its principal its id is one of its own. */
export type Standing = {
  /** The submit_id of the request that made it, or the id of its event. */
  readonly id: string;
  readonly principal: string;
  /** Whether the id is a submit_id. */
  readonly named: boolean;
  readonly since: Timestamp | undefined;
  readonly priority: number;
  /** What it asks of the place where the job runs; undefined if nothing, or if that was not granted. */
  readonly minima: Minima | undefined;
  /** What it asks of that place without being granted it; absent if that is nothing. */
  readonly refused?: Minima;
  /** Longest time until the job is run first, in milliseconds; undefined for any. */
  readonly queuedMs: number | undefined;
  /** Weight of its principal, by which it takes turns in the queue; undefined where the log has no turns. */
  readonly weight: number | undefined;
  /** Revision of the event that began it. */
  readonly revision: number;
  /** What clients are told of it; made once, since there may be many. */
  readonly told: Interest;
};

/** Who wants a job. */
export type Interests = {
  /** Those that stand, or stood when the job finished; the first one first. */
  readonly standing: readonly Standing[];
  /** Those that ended before the job did. */
  readonly ended: readonly Ended[];
};

/** An interest that ended before its job did. */
export type Ended = Pick<Standing, 'id' | 'principal'> & {
  /** When it ended with a cascade, in milliseconds since 1970-01-01T00:00Z; absent if it ended without. */
  readonly cascadedAt?: number;
};

/** Whether two are the same interest. */
export function isSame(one: Pick<Standing, 'id' | 'principal'>, other: Pick<Standing, 'id' | 'principal'>): boolean {
  return one.id === other.id && one.principal === other.principal;
}

/** The interest that a job begins with: its owner's. */
export function interestOfRequest(event: JobRequested, id: string, revision: number, job: Job): Interests {
  const first = made({
    id: event.submitId || id,
    principal: event.owner,
    named: event.submitId !== '',
    since: event.requestedAt,
    priority: event.priority,
    minima: minimaOf(event.runtimeConstraints),
    queuedMs: event.limits?.queued && durationMs(event.limits.queued),
    weight: event.turnWeight,
    revision,
  });
  if (first.minima) job.minima = first.minima;
  return told({ standing: [first], ended: [] }, job);
}

/** Somebody else, or somebody again, wants the job. */
export function joined(
  { standing, ended }: Interests,
  event: JobJoined,
  id: string,
  revision: number,
  job: Job,
): Interests {
  const { submitId, principal, resultingMinima, resultingPriority } = event;
  const granted = resultingMinima !== undefined || isWithin(event.minima, job.minima);
  const one = made({
    id: event.interest || submitId || id,
    principal,
    named: submitId !== '',
    since: event.joinedAt,
    priority: event.priority,
    minima: granted ? event.minima : undefined,
    ...(!granted && event.minima && { refused: event.minima }),
    queuedMs: event.limits?.queued && durationMs(event.limits.queued),
    weight: event.turnWeight,
    revision,
  });
  if (resultingPriority !== undefined) job.priority = resultingPriority;
  if (resultingMinima) job.minima = resultingMinima;
  return told({ standing: [...standing, one], ended }, job);
}

/** An interest ended before the job did. */
export function left({ standing, ended }: Interests, event: JobLeft, job: Job): Interests {
  const { interest: id, principal, cascade, leftAt } = event;
  const one: Ended = { id, principal, ...(cascade && leftAt && { cascadedAt: timestampMs(leftAt) }) };
  if (event.resultingPriority !== undefined) job.priority = event.resultingPriority;
  if (event.resultingMinima) job.minima = event.resultingMinima;
  return told({ standing: standing.filter((other) => !isSame(one, other)), ended: [...ended, one] }, job);
}

/** A priority was changed: that of one interest, or of the whole job and so of each. */
export function reprioritised({ standing, ended }: Interests, event: JobUpdated, job: Job): Interests {
  const { priority, interest: id, updatedBy: principal } = event;
  if (priority === undefined) return { standing, ended };
  const now = resultingPriority(event);
  if (now !== undefined) job.priority = now;
  const meant = (one: Standing) => id === '' || isSame(one, { id, principal });
  return told({ standing: standing.map((one) => (meant(one) ? made({ ...one, priority }) : one)), ended }, job);
}

/** The priority that a job has after an update; undefined if unchanged. */
export function resultingPriority(event: JobUpdated): number | undefined {
  return event.interest === '' ? event.priority : event.resultingPriority;
}

/** The job has finished, and nobody waits for it any more. */
export function finished(job: Job): void {
  told({ standing: [], ended: [] }, job);
}

function told(interests: Interests, job: Job): Interests {
  const { standing } = interests;
  job.interestCount = standing.length;
  job.interests = standing.map((one) => one.told);
  const since = standing[0]?.since;
  if (since) job.waitingSince = since;
  else delete job.waitingSince;
  return interests;
}

function made(one: Omit<Standing, 'told'>): Standing {
  const { id, principal, priority, since } = one;
  return { ...one, told: create(InterestSchema, { id, principal, priority, ...(since && { since }) }) };
}
