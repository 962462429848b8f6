import {
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { collect, newEvent, numbered } from '../contract/events.js';

let directory: string;
let sound: string;

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'memoir-damage-'));
  sound = join(directory, 'sound.sqlite');
  const store = await openSqliteStore(sound, Date.now);
  for (let i = 0; i < 40; i++)
    await store.append(`s${i % 7}`, 'any', [newEvent(`${'x'.repeat(1_000)}y`), ...numbered(3)]);
  await store.close();
});

test.after.always(() => rm(directory, { recursive: true }));

/** A copy of the sound log after `spoil`. */
function spoilt(name: string, spoil: (path: string) => void): string {
  const path = join(directory, `${name}.sqlite`);
  copyFileSync(sound, path);
  spoil(path);
  return path;
}

async function refuses(t: ExecutionContext, path: string, message: RegExp): Promise<void> {
  const before = readFileSync(path);
  const error = await t.throwsAsync(openSqliteStore(path, Date.now), { name: 'StoreUnreadable' });
  t.regex(error?.message ?? '', message);
  t.true(error?.message.includes(path));
  t.true(readFileSync(path).equals(before), 'the file was changed');
}

test('an orderly end leaves the whole log in its one file', (t) => {
  const db = new Database(
    spoilt('alone', () => {}),
    { readonly: true },
  );
  t.is(db.prepare('SELECT count(*) FROM event').pluck().get(), 160);
  db.close();
});

test('a log in which any one byte changed is refused', async (t) => {
  const bytes = readFileSync(sound);
  const db = new Database(sound, { readonly: true });
  const rows = db.prepare('SELECT data FROM event WHERE length(data) > 500').pluck().all() as string[];
  db.close();
  // A byte of a payload, and bytes all over the file; those in free space between rows mean nothing, and are passed over.
  const payload = bytes.indexOf(`${rows[3]}`) + 500;
  const places = [
    payload,
    ...Array.from({ length: 60 }, (_, i) => Math.floor((bytes.length / 60) * (i + Math.random()))),
  ];
  let refused = 0;
  for (const place of places) {
    const path = spoilt('flipped', (copy) => {
      const file = openSync(copy, 'r+');
      writeSync(file, Uint8Array.of((bytes[place] as number) ^ (1 << Math.floor(Math.random() * 8))), 0, 1, place);
    });
    const what = `byte ${place} of ${bytes.length}`;
    try {
      const store = await openSqliteStore(path, Date.now);
      const events = await collect(store.readAll());
      t.is(events.length, 160, what);
      t.true(
        events.every(({ data }) => /^("x{1000}y"|[012])$/.test(data)),
        what,
      );
      await store.close();
    } catch (error) {
      t.is((error as Error).name, 'StoreUnreadable', `${what}: ${error}`);
      refused++;
    }
  }
  t.true(refused > 25, `only ${refused} of ${places.length}`);
});

test('a log whose schema names another column is refused as damaged', async (t) => {
  const path = spoilt('schema', (copy) => {
    const bytes = readFileSync(copy);
    const place = bytes.indexOf('recorded_at INTEGER');
    const file = openSync(copy, 'r+');
    writeSync(file, Buffer.from('R'), 0, 1, place);
    writeSync(file, Buffer.from('s'), 0, 1, place + 2);
  });
  await refuses(t, path, /is damaged: no such column: recorded_at/);
});

test('a payload in which one letter changed is refused, naming the event', async (t) => {
  const path = spoilt('letter', (copy) => {
    const db = new Database(copy);
    db.exec("UPDATE event SET data = replace(data, 'xy', 'xz') WHERE position = 5");
    db.close();
  });
  await refuses(t, path, /event 0 of stream "s1", at position 5, is not what was recorded/);
});

test('a truncated log is refused', async (t) => {
  const { length } = readFileSync(sound);
  for (const left of [
    1,
    15,
    16,
    50,
    99,
    100,
    512,
    4_096,
    4_097,
    8_192,
    Math.floor(length / 2),
    length - 4_096,
    length - 1,
  ]) {
    await refuses(
      t,
      spoilt(`truncated-${left}`, (path) => truncateSync(path, left)),
      /damaged|no event log/,
    );
  }
});

test('what is no log is refused and left as it is', async (t) => {
  const text = join(directory, 'text.txt');
  writeFileSync(text, 'Dear diary, this is no database, but it is longer than a hundred bytes. '.repeat(99));
  await refuses(t, text, /is no event log of Memoir/);
  const other = join(directory, 'other.sqlite');
  const db = new Database(other);
  db.exec('CREATE TABLE recipe (name TEXT); PRAGMA user_version = 1');
  db.close();
  await refuses(t, other, /is an SQLite file, but no event log of Memoir/);
});

test('a log of a newer version is refused, naming both', async (t) => {
  const path = spoilt('newer', (copy) => {
    const db = new Database(copy);
    db.pragma('user_version = 7');
    db.close();
  });
  await refuses(t, path, /has format 7, and this version of Memoir reads formats 1 and 2/);
});

test('a log from which an event was taken is refused', async (t) => {
  for (const position of [1, 80]) {
    const path = spoilt(`taken-${position}`, (copy) => {
      const db = new Database(copy);
      db.prepare('DELETE FROM event WHERE position = ?').run(position);
      db.close();
    });
    await refuses(t, path, new RegExp(`no event at position ${position}`));
  }
});

test('a path that cannot hold a log is refused clearly', async (t) => {
  const cases: [string, RegExp][] = [
    [directory, /cannot be opened: EISDIR/],
    [join(sound, 'below-a-file'), /cannot be opened: E(NOTDIR|EXIST)/],
    ['/dev/null/events', /cannot be opened: E(NOTDIR|EXIST)/],
  ];
  for (const [path, message] of cases) {
    const error = await t.throwsAsync(openSqliteStore(path, Date.now), { name: 'StoreUnavailable' });
    t.regex(error?.message ?? '', message);
    t.true(error?.message.includes(path));
  }
});

test('two paths to one log lead to one lock', async (t) => {
  const real = join(directory, 'real', 'events.sqlite');
  mkdirSync(join(directory, 'real'));
  symlinkSync(real, join(directory, 'link.sqlite'));
  symlinkSync(join(directory, 'real'), join(directory, 'linked'));
  const paths = [join(directory, 'link.sqlite'), real, join(directory, 'linked', 'events.sqlite')];
  for (const first of paths) {
    const store = await openSqliteStore(first, Date.now);
    for (const second of paths) {
      const error = await t.throwsAsync(openSqliteStore(second, Date.now), { name: 'StoreUnavailable' });
      t.regex(error?.message ?? '', /in use/);
    }
    await store.close();
  }
});
