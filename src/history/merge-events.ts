import type { Position, RecordedEvent } from '../eventstore/port.js';

/** Events in the order of the log, and a position that none of them is before. */
export type Source = {
  readonly from: Position;
  readonly read: () => AsyncIterable<RecordedEvent>;
};

type Open = { next: RecordedEvent; readonly rest: AsyncIterator<RecordedEvent> };

/**
 * The events of all sources in the order of the log. Sources must ascend by `from`; one is opened when its place in the log comes,
 * so that no more are open than overlap there.
 */
export async function* mergeEvents(sources: Iterable<Source>): AsyncGenerator<RecordedEvent> {
  const waiting = sources[Symbol.iterator]();
  // Descending by position, so that the next one is the last.
  const open: Open[] = [];
  let unopened = waiting.next();

  function place(source: Open): void {
    let low = 0;
    let high = open.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((open[middle] as Open).next.position > source.next.position) low = middle + 1;
      else high = middle;
    }
    open.splice(low, 0, source);
  }

  try {
    for (;;) {
      while (!unopened.done && unopened.value.from <= (open.at(-1)?.next.position ?? Number.POSITIVE_INFINITY)) {
        const rest = unopened.value.read()[Symbol.asyncIterator]();
        unopened = waiting.next();
        const first = await rest.next();
        if (!first.done) place({ next: first.value, rest });
      }
      const source = open.at(-1);
      if (!source) return;
      yield source.next;
      open.pop();
      const following = await source.rest.next();
      if (!following.done) place({ next: following.value, rest: source.rest });
    }
  } finally {
    for (const { rest } of open) await rest.return?.();
  }
}
