import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { pino } from 'pino';
import { systemEdge } from '../../src/edge.js';
import { keepPrivate } from '../../src/serving/private-data.js';

const root = mkdtempSync(join(tmpdir(), 'memoir-private-'));
test.after.always(() => rmSync(root, { recursive: true }));

let made = 0;
/** A data directory as an earlier version left it under an umask of 022. */
function earlier() {
  const directory = join(root, `${++made}`);
  for (const folder of ['', 'content', 'content/blobs', 'content/blobs/ab', 'git', 'aside-1']) {
    mkdirSync(join(directory, folder), { mode: 0o755 });
  }
  const file = (name: string, mode: number) => {
    writeFileSync(join(directory, name), name);
    chmodSync(join(directory, name), mode);
  };
  file('events.sqlite', 0o644);
  file('events.sqlite-wal', 0o664);
  file('content/blobs/ab/abc', 0o444);
  file('git/hook', 0o755);
  file('aside-1/events.sqlite-wal', 0o644);
  return directory;
}

const mode = (path: string) => (lstatSync(path).mode & 0o777).toString(8);

function run(directory: string, more: readonly string[] = []) {
  const lines: string[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push(line) });
  keepPrivate(directory, more, systemEdge, logger);
  return lines.join('');
}

test('what an earlier version left is made private, and named once', (t) => {
  const directory = earlier();
  const log = join(root, 'log.sqlite');
  writeFileSync(log, '');
  chmodSync(log, 0o644);
  const said = run(directory, [log, `${log}-wal`]);
  for (const [name, expected] of [
    ['', '700'],
    ['events.sqlite', '600'],
    ['events.sqlite-wal', '600'],
    ['content/blobs/ab', '700'],
    ['content/blobs/ab/abc', '400'],
    ['git/hook', '700'],
    ['aside-1/events.sqlite-wal', '600'],
  ] as const) {
    t.is(mode(join(directory, name)), expected, name);
  }
  t.is(mode(log), '600');
  t.regex(said, /made private/);
  t.true(said.includes(`${JSON.stringify(join(directory, 'events.sqlite'))},"mode":"644"`), said);
  t.is(run(directory), '');
});

test('what is deep is looked at again once anything above was open, and not at each start', (t) => {
  const directory = earlier();
  run(directory);
  const blob = join(directory, 'content/blobs/ab/abc');
  chmodSync(blob, 0o444);
  run(directory);
  t.is(mode(blob), '444', 'nothing can come there but below what is private');
  // As after a copy of all of it.
  chmodSync(join(directory, 'content'), 0o755);
  run(directory);
  t.is(mode(blob), '400');
});

test('links are not followed; what is not of Memoir stays as it is, and the directory with it', (t) => {
  const directory = earlier();
  const outside = join(root, 'outside');
  writeFileSync(outside, '');
  chmodSync(outside, 0o644);
  symlinkSync(outside, join(directory, 'content/blobs/link'));
  writeFileSync(join(directory, 'notes.txt'), '');
  chmodSync(join(directory, 'notes.txt'), 0o644);
  const said = run(directory);
  t.regex(
    said,
    /"mode":"755","msg":"others may look into the data directory, which stays so, since it holds other things too, such as \\"notes.txt\\""/,
  );
  t.is(mode(outside), '644');
  t.is(mode(join(directory, 'notes.txt')), '644');
  t.is(mode(directory), '755');
  t.is(mode(join(directory, 'events.sqlite')), '600');
});

test('a new directory is private from the start, those above it are as others', (t) => {
  const before = process.umask(0);
  try {
    const directory = join(root, 'new/data');
    run(directory);
    t.is(mode(directory), '700');
    t.is(mode(join(directory, 'private')), '600');
    t.is(statSync(join(root, 'new')).mode & 0o777, 0o777);
  } finally {
    process.umask(before);
  }
});

test('a mount point of another user stays as it is, and what is in it is private', (t) => {
  if (process.getuid?.() !== 0) {
    t.pass('needs to be root');
    return;
  }
  const directory = earlier();
  chownSync(directory, 12_345, 12_345);
  t.regex(run(directory), /which stays so, since it belongs to another user/);
  t.is(mode(directory), '755');
  t.is(mode(join(directory, 'events.sqlite')), '600');
});
