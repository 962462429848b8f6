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
        return row && recordFromRow(row);
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
export function recordFromRow(row: JobRow): JobRecord {
  return {
    job: jobFromRow(row),
    deleted: row.deleted !== 0,
    streamRevision: row.revision,
    leaseMs: row.lease_ms,
    leaseRevision: row.lease_revision,
    requestDigest: row.request_digest,
    // Of no meaning for decisions.
    attempt: undefined,
    earlier: [],
    backOff: undefined,
    interests: { standing: [], ended: [] },
    cancelled: undefined,
    deletedBy: '',
  };
}
