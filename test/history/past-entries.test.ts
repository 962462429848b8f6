import test from 'ava';
import { unrestricted } from '../../src/domain/access.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import type { LogEntry } from '../../src/history/log-entry.js';
import { pastEntries } from '../../src/history/past-entries.js';

const everything = unrestricted('ada');

/** A log of so many events, with gaps between their positions, that counts the pages read of it and how many at a time. */
function scene(count: number, size = 100) {
  const reads: number[] = [];
  let under = 0;
  let most = 0;
  async function* readAll(after = 0, { limit = Number.POSITIVE_INFINITY } = {}): AsyncGenerator<RecordedEvent> {
    reads.push(after);
    most = Math.max(most, ++under);
    try {
      for (let i = Math.floor(after / 3) + 1, n = 0; i <= count && n < limit; i++, n++) {
        await Promise.resolve();
        yield { position: i * 3, id: `id-${i}` } as RecordedEvent;
      }
    } finally {
      under--;
    }
  }
  const waited: number[] = [];
  const entryOf = (recorded: RecordedEvent): LogEntry<number> => ({
    place: { position: recorded.position, eventId: recorded.id },
    type: 'JobRequested',
    size,
    foreign: () => false,
    facts: () => ({ readableBy: () => true }),
    message: () => recorded.position,
  });
  const seen = async (position: number) => void waited.push(position);
  const past = pastEntries({ readAll }, seen, entryOf);
  async function read(from = 0): Promise<number[]> {
    const cursor = { page: from };
    const found: number[] = [];
    for (let at = from; ; ) {
      const entry = await past.after(cursor, at);
      if (!entry) return found;
      found.push(entry.message(everything));
      at = entry.place.position;
    }
  }
  return { read, reads, waited, most: () => most };
}

const positions = (from: number, count: number) => Array.from({ length: count - from }, (_, i) => (from + i + 1) * 3);

test('readers that begin at the same place read each page once, and all get everything', async (t) => {
  const { read, reads, waited } = scene(1_000);
  const found = await Promise.all(Array.from({ length: 50 }, () => read()));
  for (const one of found) t.deepEqual(one, positions(0, 1_000));
  const pages = reads.filter((after) => after < 2_900);
  t.is(pages.length, new Set(pages).size);
  t.true(waited.includes(128 * 3), 'the read model has come to what is given');
});

test('readers at many places read a few pages at a time', async (t) => {
  const { read, most } = scene(400);
  const found = await Promise.all(Array.from({ length: 200 }, (_, i) => read(i * 3)));
  for (const [i, one] of found.entries()) t.deepEqual(one, positions(i, 400));
  t.true(most() <= 4, `${most()} at a time`);
});

test('events too big for many to be kept are given all the same', async (t) => {
  const { read, reads } = scene(40, 20 * 1024 * 1024);
  t.deepEqual(await read(), positions(0, 40));
  t.true(reads.length >= 40, 'a page is no bigger than it must be');
});

test('a page that could not be read is read again', async (t) => {
  let fails = true;
  const readAll = async function* (): AsyncGenerator<RecordedEvent> {
    if (fails) throw new Error('away');
    yield { position: 1, id: 'id' } as RecordedEvent;
  };
  const entryOf = (): LogEntry<number> => ({
    place: { position: 1, eventId: 'id' },
    type: 'JobRequested',
    size: 1,
    foreign: () => false,
    facts: () => ({ readableBy: () => true }),
    message: () => 1,
  });
  const past = pastEntries({ readAll }, async () => undefined, entryOf);
  await t.throwsAsync(past.after({ page: 0 }, 0), { message: 'away' });
  fails = false;
  t.is((await past.after({ page: 0 }, 0))?.message(everything), 1);
});
