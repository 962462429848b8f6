import { randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import type { Damage } from '../../src/history/verify/damage.js';
import { eventSource, sqliteSource } from '../../src/history/verify/log-source.js';
import { type VerifiedLog, verifyLog } from '../../src/history/verify/verify-log.js';
import { rounds } from '../support/rounds.js';
import { type RawLog, type Tampered, tamperedLog, testKey } from './tampered.js';

const count = 1_500;
let log: Tampered;

test.before(async () => {
  log = await tamperedLog(count, [400, 900, count], 250);
});

test.after.always(() => log?.dispose());

const eventAt = (position: number) => log.events[position - 1] as RecordedEvent;
const nameOf = (position: number) => {
  const { stream, revision, type } = eventAt(position);
  return { stream, revision, type };
};
const kinds = (damage: readonly Damage[]) => damage.map(({ kind, from, to }) => [kind, from, to]);

/** Moves the events after a position up or down, so that positions have no gap. */
function renumber({ run }: RawLog, after: number, by: number): void {
  run('UPDATE event SET position = -position WHERE position > ?', after);
  run('UPDATE event SET position = -position + ? WHERE position < 0', by);
}

test('a log that nobody touched is proved whole', async (t) => {
  for (const kept of ['as it was', 'none', 'fresh'] as const) {
    const found = await log.verify(() => undefined, { kept });
    t.deepEqual(found.damage, []);
    t.is(found.events, count);
    t.is(found.end, count);
    t.is(found.provenEvents, count);
    t.is(found.kept, kept === 'none' ? 'none' : 'agrees');
    const sizes = [249, 400, 499, 749, 900, 999, 1_249, 1_499, 1_500];
    t.deepEqual(
      found.checkpoints.map(({ size, verdict, trusted }) => [size, verdict, trusted]),
      sizes.map((size) => [size, 'holds', true]),
    );
  }
});

const columns = ['stream', 'id', 'type', 'data', 'metadata', 'revision', 'recorded_at'] as const;

/** SQL that changes one character or digit of a column of one row, at a place that differs from run to run. */
function flip({ run }: RawLog, column: (typeof columns)[number], position: number): void {
  if (column === 'revision' || column === 'recorded_at') {
    run(`UPDATE event SET ${column} = ${column} + ${100_000 + 2 ** randomInt(20)} WHERE position = ?`, position);
    return;
  }
  const text = eventAt(position)[column];
  const at = randomInt(text.length);
  const other = text[at] === 'x' ? 'y' : 'x';
  run(`UPDATE event SET ${column} = ? WHERE position = ?`, text.slice(0, at) + other + text.slice(at + 1), position);
}

for (const column of columns) {
  test(`a change of ${column} is found and located, whether the checksum was made to fit or not`, async (t) => {
    for (const position of [1, randomInt(2, count), count]) {
      for (const fixed of [true, false]) {
        const tamper = (raw: RawLog) => {
          flip(raw, column, position);
          if (fixed) raw.fixChecksums();
        };
        const what = `${column} at ${position}, ${fixed ? 'fixed' : 'not fixed'}`;
        const found = await log.verify(tamper);
        t.like(found.damage[0], { kind: 'altered', from: position, to: position, proven: true }, what);
        t.is(
          found.damage.length,
          column === 'data' && eventAt(position).type === 'CheckpointSigned' ? found.damage.length : 1,
        );
        t.truthy(found.damage[0]?.event, what);
        if (column !== 'stream' && column !== 'revision' && column !== 'type') {
          t.deepEqual(found.damage[0]?.event, nameOf(position), what);
        }
        t.true(found.provenEvents < position, what);
        // Without the kept tree: by the checksum, or else between two checkpoints.
        const alone = await log.verify(tamper, { kept: 'none' });
        const [first] = alone.damage;
        if (fixed) t.true(first && first.from <= position && position <= first.to && first.to - first.from < 260, what);
        else t.like(first, { kind: 'checksum', from: position }, what);
      }
    }
  });
}

test('a change of the checksum alone is found', async (t) => {
  const found = await log.verify(({ run }) => run('UPDATE event SET checksum = checksum + 1 WHERE position = 77'));
  t.deepEqual(kinds(found.damage), [['checksum', 77, 77]]);
  t.is(found.provenEvents, count);
});

test('events that were dropped are found and located, and where positions were closed up too', async (t) => {
  const cases: [from: number, to: number][] = [
    [1, 1],
    [1, 300],
    [700, 700],
    [255, 258],
    [500, 1_400],
    [2, count - 1],
  ];
  for (const [from, to] of cases) {
    for (const closed of [false, true]) {
      const found = await log.verify((raw) => {
        raw.run('DELETE FROM event WHERE position BETWEEN ? AND ?', from, to);
        if (closed) renumber(raw, to, from - to - 1);
        raw.fixChecksums();
      });
      const what = `${from} to ${to}, ${closed}`;
      t.deepEqual(kinds(found.damage), [['dropped', from, to]], what);
      t.like(found.damage[0], { count: to - from + 1, proven: true }, what);
      const alone = await log.verify((raw) => raw.run('DELETE FROM event WHERE position BETWEEN ? AND ?', from, to), {
        kept: 'none',
      });
      t.deepEqual(kinds(alone.damage).slice(0, 1), [['missing', from, to]], what);
    }
  }
});

test('a log that was cut at its end is found to be', async (t) => {
  for (const from of [count, 1_201, 2]) {
    const tamper = ({ run }: RawLog) => run('DELETE FROM event WHERE position >= ?', from);
    const found = await log.verify(tamper);
    t.deepEqual(kinds(found.damage), [['truncated', from, count]]);
    t.like(found.damage[0], { count: count - from + 1, proven: true });
    t.like(found.checkpoints.at(-1), { size: count, verdict: 'beyond' });
    const alone = await log.verify(tamper, { kept: 'none' });
    t.deepEqual(kinds(alone.damage), [['truncated', from, count]]);
  }
  const emptied = await log.verify(({ run }) => run('DELETE FROM event'));
  t.deepEqual(kinds(emptied.damage), [['truncated', 1, count]]);
});

test('two events that were exchanged are found, wherever they stood', async (t) => {
  const cases: [number, number][] = [
    [10, 11],
    [1, count],
    [256, 257],
    [300, 1_100],
  ];
  for (const [one, other] of cases) {
    const found = await log.verify((raw) => {
      raw.run('UPDATE event SET position = -1 WHERE position = ?', one);
      raw.run('UPDATE event SET position = ? WHERE position = ?', one, other);
      raw.run('UPDATE event SET position = ? WHERE position = -1', other);
      raw.fixChecksums();
    });
    const moves = found.damage.map(({ kind, from, movedTo, proven }) => ({ kind, from, movedTo, proven }));
    const there = { kind: 'moved', from: one, movedTo: other, proven: true } as const;
    const back = { kind: 'moved', from: other, movedTo: one, proven: true } as const;
    if (other === one + 1) t.true([there, back].some((move) => JSON.stringify(moves) === JSON.stringify([move])));
    else t.deepEqual(moves, [there, back]);
    t.deepEqual(found.damage.at(-1)?.event, nameOf(found.damage.at(-1)?.from ?? 0));
  }
});

test('events that were put in are found and located', async (t) => {
  for (const position of [1, 640, count]) {
    const found = await log.verify((raw) => {
      renumber(raw, position - 1, 1);
      raw.run(
        `INSERT INTO event SELECT ?, 'job-x', 0, '10000000-0000-4000-8000-000000000000', type, data, metadata, recorded_at, 0
         FROM event WHERE position = ?`,
        position,
        position + 1,
      );
      raw.fixChecksums();
    });
    t.deepEqual(kinds(found.damage).slice(0, 1), [['inserted', position, position]]);
    t.like(found.damage[0], { event: { stream: 'job-x', revision: 0 }, proven: true });
    t.is(found.damage.length, 1);
  }
});

test('several damages are told apart', async (t) => {
  const found = await log.verify((raw) => {
    flip(raw, 'data', 20);
    flip(raw, 'metadata', 21);
    raw.run('DELETE FROM event WHERE position IN (100, 101, 500)');
    flip(raw, 'id', 1_000);
    raw.run('DELETE FROM event WHERE position > 1490');
    raw.fixChecksums();
  });
  t.deepEqual(kinds(found.damage), [
    ['altered', 20, 20],
    ['altered', 21, 21],
    ['dropped', 100, 101],
    ['dropped', 500, 500],
    ['altered', 1_000, 1_000],
    ['truncated', 1_491, 1_500],
  ]);
});

test('where the kept tree was made to fit, the held checkpoints tell, and between which the damage is', async (t) => {
  const found = await log.verify(
    (raw) => {
      flip(raw, 'data', 600);
      raw.fixChecksums();
    },
    { kept: 'fresh' },
  );
  t.is(found.kept, 'agrees');
  t.is(found.provenEvents, 499);
  t.deepEqual(kinds(found.damage), [['somewhere', 500, 749]]);
  const cut = await log.verify(({ run }) => run('DELETE FROM event WHERE position > 1000'), { kept: 'fresh' });
  t.deepEqual(kinds(cut.damage), [['truncated', 1_001, 1_500]]);
});

test('a kept tree that is not right is not taken for the truth', async (t) => {
  const changed = await log.verify(() => undefined, {
    spoilKept: (db) => {
      const { hashes } = db.prepare('SELECT hashes FROM log_tile WHERE level = 0 AND tile = 2').get() as {
        hashes: Buffer;
      };
      hashes[40] = (hashes[40] ?? 0) ^ 1;
      db.prepare('UPDATE log_tile SET hashes = ? WHERE level = 0 AND tile = 2').run(hashes);
    },
  });
  t.is(changed.kept, 'wrong');
  t.deepEqual(changed.damage, []);
  for (const sql of [
    'DELETE FROM log_tile WHERE tile = 2',
    'DELETE FROM log_leaf WHERE tile = 1',
    "UPDATE log_tile SET hashes = x'00'",
  ]) {
    const broken = await log.verify(() => undefined, { spoilKept: (db) => void db.exec(sql) });
    t.is(broken.kept, 'unusable', sql);
    t.deepEqual(broken.damage, []);
  }
});

test('without any checkpoint the kept tree tells where the log differs, and that nothing confirms it', async (t) => {
  const found = await log.verify(
    (raw) => {
      raw.run("DELETE FROM event WHERE type = 'CheckpointSigned' AND position > 0");
      flip(raw, 'data', 7);
      raw.fixChecksums();
    },
    { held: [] },
  );
  t.is(found.provenEvents, 0);
  t.like(found.damage[0], { kind: 'altered', from: 7, proven: false });
  t.is(found.damage.length, 7);
});

test('rows where no reader of the log comes are found', async (t) => {
  for (const position of ['0', '-5', '9223372036854775807', '9007199254740993']) {
    const found = await log.verify(({ run }) =>
      run(
        `INSERT INTO event SELECT ${position}, 'job-1', 99999, id, type, data, metadata, recorded_at, 0 FROM event WHERE position = 5`,
      ),
    );
    t.deepEqual(kinds(found.damage), [['stray', 0, 0]]);
    t.regex(found.damage[0]?.detail ?? '', new RegExp(`position ${position}: event 99999 of stream job-1`));
  }
});

test('a row at a position far away does not make the verification endless', async (t) => {
  const far = 2 ** 52;
  const found = await log.verify(({ run }) => run(`UPDATE event SET position = ${far} WHERE position = ?`, count));
  t.is(found.end, far);
  t.deepEqual(kinds(found.damage).slice(0, 2), [
    ['missing', count, far - 1],
    ['checksum', far, far],
  ]);
});

test('a row whose values are of other types is found', async (t) => {
  for (const value of ['CAST(data AS BLOB)', 'NULL', "x'00'"]) {
    const found = await log.verify(({ run }) => {
      run('CREATE TABLE loose AS SELECT * FROM event');
      run('DROP TABLE event');
      run('ALTER TABLE loose RENAME TO event');
      run(`UPDATE event SET data = ${value} WHERE position = 33`);
    });
    t.deepEqual(kinds(found.damage), [['unreadable', 33, 33]]);
  }
});

test('a checkpoint in the log that its key did not sign is found', async (t) => {
  const found = await log.verify((raw) => {
    raw.run(`UPDATE event SET data = replace(data, '\\n249\\n', '\\n248\\n') WHERE position = 250`);
    raw.fixChecksums();
  });
  t.deepEqual(kinds(found.damage), [
    ['altered', 250, 250],
    ['forged', 250, 250],
  ]);
});

test('a held checkpoint is believed against one in the log by the same key', async (t) => {
  const held = [{ source: 'old', checkpoint: { origin: testKey.name, size: 100, root: Buffer.alloc(32, 9) } }];
  const found = await log.verify(() => undefined, { held, kept: 'none' });
  t.is(found.provenEvents, 0);
  t.deepEqual(kinds(found.damage), [['somewhere', 1, 100]]);
});

test('events that come in batches, as those of an export, are verified by the same', async (t) => {
  const batches = (events: readonly RecordedEvent[]) =>
    async function* () {
      for (let at = 0; at < events.length; at += 100) yield events.slice(at, at + 100);
    };
  const evidence = { held: log.held, keys: [testKey] };
  const whole = await verifyLog(eventSource(batches(log.events)), evidence);
  t.is(whole.provenEvents, count);
  t.deepEqual(whole.damage, []);
  const without = log.events.toSpliced(450, 1);
  t.deepEqual(kinds((await verifyLog(eventSource(batches(without)), evidence)).damage), [
    ['somewhere', 401, 500],
    ['truncated', 1_501, 1_501],
  ]);
});

test('whatever byte of the file is changed: what is not told as damage is what it was', async (t) => {
  const small = await tamperedLog(300, [300], 100);
  try {
    const bytes = readFileSync(small.log);
    let damaged = 0;
    const flips = rounds(10, 80);
    for (let i = 0; i < flips; i++) {
      const place = randomInt(bytes.length);
      const path = join(small.directory, 'flipped.sqlite');
      const changed = Buffer.from(bytes);
      changed[place] = (changed[place] as number) ^ (1 << randomInt(8));
      writeFileSync(path, changed);
      const what = `byte ${place} of ${bytes.length}`;
      let found: VerifiedLog;
      try {
        const source = sqliteSource(path, { threads: 2 });
        found = await verifyLog(source, { held: small.held, keys: [testKey] });
        await source.close();
      } catch (error) {
        // Only where SQLite finds no table any more, by its first page, is nothing read.
        t.regex((error as { code?: string }).code ?? '', /^SQLITE_/, `${what}: ${error}`);
        t.true(place < 4_096, `${what}: ${error}`);
        damaged++;
        continue;
      }
      if (found.damage.length > 0) {
        damaged++;
        continue;
      }
      t.is(found.provenEvents, 300, what);
    }
    t.true(damaged > flips / 20, `only ${damaged}`);
  } finally {
    small.dispose();
  }
});

/** Row numbers of the cells of a leaf page of a table; none of another page (https://www.sqlite.org/fileformat.html#b_tree_pages). */
function rowsOfPage(page: Buffer): number[] {
  if (page[0] !== 0x0d) return [];
  return Array.from({ length: page.readUInt16BE(3) }, (_, i) => {
    let at = page.readUInt16BE(8 + 2 * i);
    const varint = () => {
      let value = 0;
      for (;;) {
        const byte = page[at++] as number;
        value = value * 128 + (byte & 127);
        if (byte < 128) return value;
      }
    };
    varint();
    return varint();
  });
}

test('events on a page of the file that is damaged are found to be unreadable, one by one', async (t) => {
  const bytes = readFileSync(log.log);
  for (const position of [1, 750, count]) {
    const pages = Array.from({ length: bytes.length / 4_096 }, (_, i) => bytes.subarray(i * 4_096, (i + 1) * 4_096));
    const at = pages.findIndex((page) => rowsOfPage(page).includes(position));
    const onPage = rowsOfPage(pages[at] as Buffer);
    const path = join(log.directory, 'page.sqlite');
    writeFileSync(path, Buffer.from(bytes).fill(0, at * 4_096, (at + 1) * 4_096));
    const source = sqliteSource(path, { threads: 2 });
    const found = await verifyLog(source, { held: log.held, keys: [testKey] });
    await source.close();
    const unreadable = found.damage.filter(({ kind }) => kind === 'unreadable').map(({ from }) => from);
    t.deepEqual(unreadable, onPage);
    t.true(found.provenEvents < position);
    t.is(found.events, count);
  }
});
