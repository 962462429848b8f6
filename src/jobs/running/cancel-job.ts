import { permission } from '../../domain/access.js';
import { MemoirError } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import { isFinished } from '../../domain/job.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';

/** What was cancelled. */
export type Cancelled = {
  readonly record: JobRecord;
  /** Uuids of the jobs that this call cancelled, or the same one before. */
  readonly cancelled: readonly string[];
  readonly position: Position;
};

/**
 * Cancels a job, and with `cascade` every unfinished job among its components, theirs, and so on; cycles end. A component that
 * finished, does not exist or is not the caller's to cancel is passed over; those below a finished one are still reached. The same call
 * again, such as after a lost answer, is answered as the first time.
 * @throws MemoirError NOT_FOUND, or FAILED_PRECONDITION if the job itself is complete or failed; nothing is cancelled then
 */
export async function cancelJob(
  { streams, edge }: JobsContext,
  caller: Caller,
  uuid: string,
  cascade: boolean,
): Promise<Cancelled> {
  const cancel = (of: string, cascadeFrom: string) =>
    streams.execute(caller, of, { kind: 'cancel', principal: caller.principal, cascadeFrom, cascade, now: edge.now() });
  /** Whether a job is cancelled because of a call like this one. */
  const byThis = ({ job, cancelled }: JobRecord, cascadeFrom: string) =>
    job.cancelledBy === caller.principal &&
    cancelled?.cascadeFrom === cascadeFrom &&
    Boolean(cancelled.cascade) === cascade;
  const root = await cancel(uuid, '');
  const cancelled = byThis(root.record, '') ? [uuid] : [];
  let { position } = root;
  const reached = new Set([uuid]);
  const open = cascade ? Object.values(root.record.job.components) : [];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    const record = await streams.loadFor(caller, next);
    if (!record || record.deleted || permission(caller.access, record.job, 'steer') !== 'granted') continue;
    open.push(...Object.values(record.job.components));
    if (isFinished(record.job.state)) {
      if (byThis(record, uuid)) cancelled.push(next);
      continue;
    }
    try {
      const done = await cancel(next, uuid);
      if (done.changed) cancelled.push(next);
      position = Math.max(position, done.position);
    } catch (error) {
      // It finished meanwhile.
      if (!(error instanceof MemoirError)) throw error;
    }
  }
  return { record: root.record, cancelled, position };
}
