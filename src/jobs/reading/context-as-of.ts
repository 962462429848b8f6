import type { Attempt } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { PastReads } from '../../../projections/history/as-of.js';
import { type JobRow, jobFromRow } from '../../../projections/read-model/jobs.js';
import type { JobRecord } from '../../domain/job.js';
import type { Position } from '../../eventstore/port.js';
import type { DecidingContext } from '../context.js';

/** A moment of the log, and how to read what was there then. */
export type Moment = {
  readonly position: Position;
  /** When the log came to its event, in milliseconds since 1970-01-01T00:00Z. */
  readonly time: number;
  readonly reads: PastReads;
};

/**
 * What a decision of a moment is taken with: jobs and registered images are those of then, nothing is written and no registry is
 * asked. Git and the settings are those of now, since the log has no history of them.
 */
export function contextAsOf(context: DecidingContext, { position, time, reads }: Moment): DecidingContext {
  const { edge, images, lists } = context;
  return {
    ...context,
    ...logAsOf(position, reads),
    edge: { ...edge, now: () => time },
    images: images.among(reads.images),
    lists: {
      values: lists.values,
      candidates: (query, caller) => lists.candidates({ ...query, asOf: position }, caller),
    },
    streams: {
      current: () => undefined,
      unread: () => undefined,
      async load(uuid) {
        const row = reads.jobs.get(uuid);
        return row && recordFromRow(row, reads.jobs.attempts(row));
      },
    },
  };
}

/** The log as it was at a position, where nobody writes. */
export function logAsOf(
  position: Position,
  { candidates, content, givers }: Pick<PastReads, 'candidates' | 'content' | 'givers'>,
): Pick<DecidingContext, 'store' | 'readModel' | 'written'> {
  return {
    // Nothing of the past is kept in memory, as for a store that others write too.
    store: { exclusive: false, end: async () => position },
    readModel: { candidates, content, givers },
    written: {
      pending: () => false,
      seen: async () => undefined,
      catchUp: async () => undefined,
      onNote: () => undefined,
      onRemade: () => undefined,
      noted: () => position,
    },
  };
}

/** The record that a row of the table `job` holds. */
export function recordFromRow(row: JobRow, attempts: readonly Attempt[]): JobRecord {
  const last = attempts.at(-1);
  return {
    job: jobFromRow(row),
    deleted: row.deleted !== 0,
    streamRevision: row.revision,
    leaseMs: row.lease_ms,
    leaseRevision: row.lease_revision,
    requestDigest: row.request_digest,
    // Where it ran and until when is all of its attempts that decisions look at.
    attempt: last && ranOf(last),
    earlier: [],
    backOff: undefined,
    interests: { standing: [], ended: [] },
    cancelled: undefined,
    deletedBy: '',
  };
}

function ranOf({ number, worker, workerName, startedAt, endedAt }: Attempt): NonNullable<JobRecord['attempt']> {
  const ended = { at: endedAt, fault: 0, reason: '', message: '', log: '', output: '', givenBack: false };
  return {
    number,
    worker,
    workerName,
    startedAt,
    tokenDigest: '',
    tokenMade: false,
    leaseMs: 0,
    ended: endedAt && ended,
  };
}
