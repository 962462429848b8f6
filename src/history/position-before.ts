import type { HistoryModel } from '../../projections/history/history-model.js';
import type { Edge } from '../edge.js';
import type { EventLog, Position } from '../eventstore/port.js';
import { upToDate } from './up-to-date.js';

/**
 * Position of the last event before the first one to which the log came at a time or later, in milliseconds since
 * 1970-01-01T00:00Z. When the log came to an event is told by `steadyTimes`: single wrong times do not count.
 * @throws MemoirError UNAVAILABLE as `upToDate`
 */
export async function positionBefore(
  context: { readonly store: Pick<EventLog, 'end'>; readonly history: HistoryModel; readonly edge: Edge },
  time: number,
): Promise<Position> {
  const { store, history, edge } = context;
  await upToDate(history, await store.end());
  return history.times.before(time, edge.now());
}
