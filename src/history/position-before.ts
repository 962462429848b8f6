import type { HistoryModel } from '../../projections/history/history-model.js';
import type { EventLog, Position } from '../eventstore/port.js';
import { upToDate } from './up-to-date.js';

/**
 * Position of the last event before the first one that was recorded at or after a time, in milliseconds since 1970-01-01T00:00Z.
 * Where a clock was set back, events after it may have been recorded before the time too.
 * @throws MemoirError UNAVAILABLE as `upToDate`
 */
export async function positionBefore(
  context: { readonly store: EventLog; readonly history: HistoryModel },
  time: number,
): Promise<Position> {
  const { store, history } = context;
  await upToDate(history, history.progress().end);
  let position = history.times.before(time);
  for await (const recorded of store.readAll(position)) {
    if (recorded.recordedAt >= time) break;
    position = recorded.position;
  }
  return position;
}
