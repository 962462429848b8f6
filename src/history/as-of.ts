import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { AsOf } from '../../gen/memoir/jobs/v1/as_of_pb.js';
import { invalid } from '../domain/errors.js';
import type { Position } from '../eventstore/port.js';
import { checkTime } from '../jobs/check-time.js';
import type { JobsContext } from '../jobs/context.js';
import { positionBefore } from './position-before.js';
import { upToDate } from './up-to-date.js';

/** Longest wait for the read model, in milliseconds; it is behind by a few unless it is in trouble. */
const longestWait = 10_000;

/** What the past is read with. */
export type PastContext = Pick<JobsContext, 'store' | 'history' | 'readModel' | 'edge'>;

/**
 * The position of the log that a moment means, once it can be read.
 * @throws MemoirError INVALID_ARGUMENT naming the position that is beyond the end of the log, or the time in the future;
 * UNAVAILABLE as `upToDate`
 */
export async function positionOf(context: PastContext, { moment }: AsOf, signal: AbortSignal): Promise<Position> {
  switch (moment.case) {
    case 'position':
      return readablePosition(context, moment.value, signal);
    case 'time': {
      const time = checkedTime(context, moment.value);
      return readablePosition(context, BigInt(await positionBefore(context, time)), signal);
    }
    default:
      throw invalid('as_of', 'REQUIRED', 'as_of needs a position or a time');
  }
}

/** The position, if the log goes that far, once it can be read; throws as `positionOf`. */
export async function readablePosition(
  { store, history, readModel }: PastContext,
  wanted: bigint,
  signal: AbortSignal,
): Promise<Position> {
  const position = Number(wanted);
  if (position > history.position() || position > readModel.position()) {
    const end = await store.end();
    if (position > end) {
      const message = `as_of.position ${wanted} is beyond the end of the log, which is at ${end}`;
      throw invalid('as_of.position', 'OUT_OF_RANGE', message);
    }
    await upToDate(history, position, signal);
    await readModel.waitFor(position, AbortSignal.any([signal, AbortSignal.timeout(longestWait)]));
  }
  return position;
}

function checkedTime({ edge }: PastContext, given: Timestamp): number {
  const time = checkTime('as_of.time', given);
  if (time <= edge.now()) return time;
  throw invalid('as_of.time', 'OUT_OF_RANGE', `as_of.time ${new Date(time).toISOString()} is in the future`);
}

/** A moment as a text that no other has. */
export function momentText({ moment }: AsOf): string {
  if (moment.case !== 'time') return `position ${moment.value}`;
  return `time ${moment.value.seconds} ${moment.value.nanos}`;
}
