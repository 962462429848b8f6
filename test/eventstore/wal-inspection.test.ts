import { cpSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import { inspectWal } from '../../src/eventstore/sqlite/wal-inspection.js';

const directory = mkdtempSync(join(tmpdir(), 'memoir-wal-'));
test.after.always(() => rmSync(directory, { recursive: true }));

const commits = 12;
const frameLength = 24 + 4_096;

/** A database that was killed after `commits` commits, of which the first four were written back. */
const killed = (() => {
  const live = join(directory, 'live');
  const db = new Database(live);
  db.pragma('journal_mode = WAL');
  db.pragma('wal_autocheckpoint = 0');
  db.exec('CREATE TABLE event (position INTEGER PRIMARY KEY, data TEXT)');
  const insert = db.prepare('INSERT INTO event (data) VALUES (?)');
  for (let i = 0; i < commits; i++) {
    insert.run('x'.repeat(3_000));
    if (i === 3) db.pragma('wal_checkpoint(RESTART)');
    if (i === 2) for (const suffix of ['', '-wal', '-shm']) cpSync(live + suffix, join(directory, `early${suffix}`));
  }
  for (const suffix of ['', '-wal', '-shm']) cpSync(live + suffix, join(directory, `killed${suffix}`));
  db.close();
  return join(directory, 'killed');
})();

/** A copy of what was left after `spoil`. */
function spoilt(name: string, spoil: (path: string) => void): string {
  const path = join(directory, name);
  for (const suffix of ['', '-wal', '-shm']) cpSync(killed + suffix, path + suffix);
  spoil(path);
  return path;
}

function flip(file: string, at: number): void {
  const byte = readFileSync(file).readUInt8(at);
  writeSync(openSync(file, 'r+'), Buffer.from([byte ^ 4]), 0, 1, at);
}

/** How many rows SQLite finds in a copy of the files, so that the originals stay as they are. */
function rows(path: string): number {
  const copy = `${path}-copy`;
  for (const suffix of ['', '-wal']) cpSync(path + suffix, copy + suffix);
  const db = new Database(copy);
  try {
    return db.prepare('SELECT count(*) FROM event').pluck().get() as number;
  } finally {
    db.close();
  }
}

const without = (suffix: string) => (path: string) => rmSync(path + suffix);
const frames = Math.floor((statSync(`${killed}-wal`).size - 32) / frameLength);

test('a WAL that nothing happened to proves no loss', (t) => {
  t.deepEqual(inspectWal(killed), { losses: [], foreign: false });
  t.deepEqual(inspectWal(spoilt('no index', without('-shm'))), { losses: [], foreign: false });
  t.is(rows(killed), commits);
});

test('a bit that flips in any committed frame is a proof, with the index of the WAL or by what follows', (t) => {
  for (let frame = 0; frame < frames; frame++) {
    const at = 32 + frame * frameLength;
    for (const [name, offset] of Object.entries({ header: at + 2, salt: at + 9, data: at + 24 + 500 })) {
      const path = spoilt(`flip ${frame} ${name}`, (file) => flip(`${file}-wal`, offset));
      t.is(inspectWal(path).losses.at(-1)?.startsWith('its -shm tells of'), true, `${frame} ${name}`);
      t.true(rows(path) < commits, `${frame} ${name}`);
      rmSync(`${path}-shm`);
      const proof = inspectWal(path).losses[0];
      // Without an index the last transaction may be one that was never acknowledged.
      if (frame < frames - 6)
        t.regex(proof ?? '', new RegExp(`^frame ${frame + 1} of its -wal is not what was written`));
      if (frame === frames - 1) t.is(proof, undefined);
    }
  }
});

test('a last transaction that a power cut interrupted is no loss', (t) => {
  // Its frames are in the WAL in any order, or not at all, and the index does not have them.
  const path = spoilt('torn', without('-shm'));
  writeSync(openSync(`${path}-wal`, 'r+'), Buffer.alloc(frameLength), 0, frameLength, 32 + (frames - 2) * frameLength);
  t.deepEqual(inspectWal(path).losses, []);
});

test('a WAL that was cut, emptied or taken away is a loss by the index that a killed process leaves', (t) => {
  for (const keep of [0, 17, 32, 32 + frameLength, 32 + (frames - 1) * frameLength]) {
    const path = spoilt(`cut ${keep}`, (file) => truncateSync(`${file}-wal`, keep));
    t.is(inspectWal(path).losses.length, 1, `${keep}`);
  }
  t.regex(inspectWal(spoilt('gone', without('-wal'))).losses[0] ?? '', /its -wal is missing or empty/);
});

test('an index that cannot be believed says nothing', (t) => {
  const gone = (spoil: (path: string) => void) =>
    inspectWal(
      spoilt(`index ${Math.random()}`, (path) => {
        without('-wal')(path);
        spoil(`${path}-shm`);
      }),
    ).losses;
  t.is(gone(() => undefined).length, 1);
  t.deepEqual(
    gone((shm) => flip(shm, 16)),
    [],
  );
  t.deepEqual(
    gone((shm) => truncateSync(shm, 100)),
    [],
  );
});

test('an older copy beside a newer WAL is told before SQLite makes one of the two', (t) => {
  const path = spoilt('older', (file) => cpSync(join(directory, 'early'), file));
  const { losses, foreign } = inspectWal(path);
  t.true(foreign);
  t.regex(losses.join(), /its -wal is of another file than this, such as a later one: page \d+ of \d+ is in neither/);
  const empty = spoilt('emptied', (file) => truncateSync(file, 0));
  t.true(inspectWal(empty).foreign);
});
