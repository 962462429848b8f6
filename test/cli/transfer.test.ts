import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import test from 'ava';
import Database from 'better-sqlite3';
import { writeHistory } from '../../bench/history.js';
import { plainEnvironment, startMemoir } from '../../demo/program.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { rawRows } from '../eventstore/transfer/scratch.js';
import { runMemoir, runProcess } from '../support/command.js';
import { same } from '../support/same.js';
import { until } from '../support/until.js';

const directory = mkdtempSync(join(tmpdir(), 'memoir-transfer-cli-'));
const at = (...names: string[]) => join(directory, ...names);
const count = 6_000;

test.before(async () => {
  mkdirSync(at('data'));
  await writeHistory(at('data', 'events.sqlite'), count);
  t0(await run(['export', '--data-dir', at('data'), at('log.jsonl')]));
});

test.after.always(() => rmSync(directory, { recursive: true, force: true }));

function t0({ code, err }: Awaited<ReturnType<typeof run>>): void {
  if (code !== 0) throw new Error(err);
}

const run = (args: readonly string[], input?: string, env = {}) =>
  runMemoir(args, { env, ...(input !== undefined && { input }) });

const originals = () => rawRows(at('data', 'events.sqlite'));

test('a file is written whole, for its owner alone, and says what it is', async (t) => {
  const said = await run(['export', '--data-dir', at('data'), at('whole.jsonl.gz'), '--json']);
  t.is(said.code, 0, said.err);
  const { root, ...rest } = JSON.parse(said.out);
  t.deepEqual(rest, { file: at('whole.jsonl.gz'), store: 'sqlite', events: count, last_position: count });
  t.is(statSync(at('whole.jsonl.gz')).mode & 0o777, 0o600);
  const lines = gunzipSync(readFileSync(at('whole.jsonl.gz')))
    .toString()
    .trimEnd()
    .split('\n');
  t.is(lines.length, count + 2);
  t.like(JSON.parse(lines[0] ?? ''), { memoir_log: 1, store: 'sqlite' });
  t.false((lines[0] ?? '').includes(directory));
  t.like(JSON.parse(lines.at(-1) ?? ''), { events: count, root });
});

test('settings are those of the server: environment and file too', async (t) => {
  writeFileSync(at('memoir.toml'), 'data_dir = "data"\n');
  const byFile = await runProcess(['export', '--config', at('memoir.toml')]);
  const byEnvironment = await runProcess(['export', '-'], {
    env: { MEMOIR_STORE: `sqlite:${at('data', 'events.sqlite')}` },
  });
  for (const { code, out, err } of [byFile, byEnvironment]) {
    t.is(code, 0, err);
    t.is(out.split('\n').length, count + 3);
    t.regex(err, /^6,000 events exported to standard output, up to position 6000; root \S{44}\n$/);
  }
});

test('no file is replaced but an export, and that only by --force', async (t) => {
  const again = (file: string, ...more: string[]) => run(['export', '--data-dir', at('data'), file, ...more]);
  const here = (...names: string[]) => at('kept', ...names);
  mkdirSync(here());
  await again(here('there.jsonl'));
  writeFileSync(here('diary.txt'), 'Dear diary');
  mkdirSync(here('folder'));
  symlinkSync(here('there.jsonl'), here('link.jsonl'));
  symlinkSync(here('nowhere'), here('dangling'));
  const before = originals();
  const refusals: [string, string[], RegExp][] = [
    [here('there.jsonl'), [], /error: there is a file ".*there.jsonl"; --force replaces an export/],
    [here('diary.txt'), ['--force'], /diary.txt" is no export, and is not replaced/],
    [at('data', 'events.sqlite'), ['--force'], /is no export/],
    [here('folder'), ['--force'], /is no export/],
    [here('link.jsonl'), ['--force'], /is no export/],
    [here('dangling'), [], /there is a file/],
    ['/dev/null', ['--force'], /is no export/],
  ];
  for (const [file, more, message] of refusals) {
    const { code, err } = await again(file, ...more);
    t.is(code, 4, file);
    t.regex(err, message);
  }
  for (const file of [here('no', 'such', 'folder.jsonl'), here('diary.txt', 'below.jsonl'), here('x'.repeat(300))]) {
    const { code, err } = await again(file);
    t.is(code, 2, err);
    t.regex(err, /cannot be written: E/);
  }
  t.is((await again(here('there.jsonl'), '--force')).code, 0);
  t.is(readFileSync(here('diary.txt'), 'utf8'), 'Dear diary');
  same(t, originals(), before);
  t.deepEqual(
    readdirSync(here()).filter((name) => name.includes('partial')),
    [],
  );
});

test('what is no log is said so', async (t) => {
  writeFileSync(at('foreign.sqlite'), 'no database');
  const cases: [string[], number, RegExp][] = [
    [[], 2, /no log is given: --data-dir or --store/],
    [['--data-dir', at('nothing')], 2, /there is no event log ".*nothing\/events.sqlite"/],
    [['--store', `sqlite:${at('foreign.sqlite')}`], 2, /is no event log of Memoir/],
    [['--store', 'oracle://user:secret@host'], 2, /store "oracle:\/\/\*\*\*@host" is not "sqlite:"/],
    [['--compress', 'rar', '--data-dir', at('data')], 2, /argument 'rar' is invalid/],
  ];
  for (const [more, code, message] of cases) {
    const said = await run(['export', ...more, at('never.jsonl')]);
    t.is(said.code, code, said.err);
    t.regex(said.err, message);
    t.false(said.err.includes('secret'));
    t.false(existsSync(at('never.jsonl')));
  }
  t.false(existsSync(at('nothing')));
});

test('an import reads files and pipes, compressed or not, and tells what it did', async (t) => {
  const text = readFileSync(at('log.jsonl'), 'utf8');
  writeFileSync(at('log.bin'), gzipSync(text));
  for (const [name, file, input] of [
    ['a', at('log.bin'), undefined],
    ['b', '-', text],
  ] as const) {
    const said = await run(['import', '--data-dir', at(name), file, '--json'], input);
    t.is(said.code, 0, said.err);
    t.like(JSON.parse(said.out), { events: count, there: 0, recorded: count, dry_run: false, last_position: count });
    same(t, rawRows(at(name, 'events.sqlite')), originals());
    t.deepEqual(
      readdirSync(at(name)).filter((one) => !one.startsWith('events.sqlite')),
      [],
    );
  }
  const again = await run(['import', '--data-dir', at('a'), at('log.jsonl')]);
  t.regex(again.out, /^0 events imported into .*, 6,000 events had been there before; 6,000 events, root /);
});

test('a dry run checks and touches nothing', async (t) => {
  const good = await run(['import', '--dry-run', '--data-dir', at('dry'), at('log.jsonl')]);
  t.regex(good.out, /^the file is whole: 6,000 events, root /);
  const text = readFileSync(at('log.jsonl'), 'utf8');
  const bad = await run(['import', '--dry-run', '-'], text.replace('"revision":0', '"revision":1'));
  t.is(bad.code, 2);
  t.regex(
    bad.err,
    /^error: line 2 of standard input: revision 1 of stream "job-.*" does not follow none\n {2}reason: BAD_EXPORT/,
  );
  t.false(existsSync(at('dry')));
});

test('a store that a server has, one with another log, and files that are none are refused', async (t) => {
  const store = await openSqliteStore(at('busy.sqlite'), Date.now);
  const url = ['--store', `sqlite:${at('busy.sqlite')}`];
  const busy = await run(['import', ...url, at('log.jsonl')]);
  t.is(busy.code, 6);
  t.regex(busy.err, /in use by another Memoir server/);
  await store.append('job-x', 'any', [{ id: crypto.randomUUID(), type: 'JobStarted', data: '{}', metadata: '{}' }]);
  await store.close();
  const other = await run(['import', ...url, at('log.jsonl')]);
  t.is(other.code, 4);
  t.regex(other.err, /the store holds another log: its event number 1 is event 0 of stream "job-x"/);
  for (const file of [at('absent'), directory]) {
    const { code, err } = await run(['import', ...url, file]);
    t.is(code, 2);
    t.regex(err, /cannot be read|is a directory/);
  }
});

test('an import that is killed at any moment is ended by the same command', async (t) => {
  for (const [round, moment] of [1, 2_000, 5_000].entries()) {
    const data = at(`killed-${round}`);
    const path = join(data, 'events.sqlite');
    const program = startMemoir(['import', '--data-dir', data, at('log.jsonl')]);
    await until('the import records', () => {
      if (!existsSync(path) || statSync(path).size === 0) return false;
      const db = new Database(path, { readonly: true });
      try {
        const events = db.prepare('SELECT max(position) FROM event').pluck().get() as number;
        return events >= moment;
      } catch {
        return false;
      } finally {
        db.close();
      }
    });
    await program.stop('SIGKILL');
    const { format, rows } = rawRows(path);
    // It may have been faster than the kill.
    if (rows.length < count) {
      t.is(format, 3);
      const served = await run(['serve', '--data-dir', data, '--listen', '127.0.0.1:0']);
      t.is(served.code, 2);
      t.regex(served.err, /is not whole: an import into it has not ended; import the same file again/);
    }
    const again = await run(['import', '--data-dir', data, at('log.jsonl'), '--json']);
    t.is(again.code, 0, again.err);
    t.is(JSON.parse(again.out).there, rows.length);
    same(t, rawRows(path), originals());
  }
});

test('a full disk ends an import and an export clearly, and both are made good', async (t) => {
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  // No file may grow over 2 MiB: what a write beyond it meets is an error of the system, as on a full disk.
  const limited = (...args: string[]) => {
    const command = ['-c', 'ulimit -S -f 2048; exec "$0" "$@"', process.execPath, main, ...args];
    const { status, stderr } = spawnSync('bash', command, { encoding: 'utf8', env: plainEnvironment() });
    return { status, stderr };
  };
  const imported = limited('import', '--data-dir', at('full'), at('log.jsonl'));
  t.is(imported.status, 6, imported.stderr);
  t.regex(imported.stderr, /^error: the event log ".*" cannot be written: /);
  const there = rawRows(at('full', 'events.sqlite')).rows.length;
  t.true(there > 0 && there < count);
  const again = await run(['import', '--data-dir', at('full'), at('log.jsonl'), '--json']);
  t.is(JSON.parse(again.out).there, there);
  same(t, rawRows(at('full', 'events.sqlite')), originals());
  mkdirSync(at('small'));
  const exported = limited('export', '--data-dir', at('data'), at('small', 'log.jsonl'));
  t.is(exported.status, 2, exported.stderr);
  t.regex(exported.stderr, /^error: ".*log.jsonl" cannot be written: EFBIG/);
  t.false(existsSync(at('small', 'log.jsonl')));
  t.deepEqual(readdirSync(at('small')), []);
});

test('a signal ends an export without a trace', async (t) => {
  mkdirSync(at('stopped'));
  const program = startMemoir(['export', '--data-dir', at('data'), at('stopped', 'log.jsonl')]);
  await until('the export writes', () => readdirSync(at('stopped')).length > 0);
  const code = await program.stop('SIGTERM');
  t.is(code, 130);
  t.deepEqual(readdirSync(at('stopped')), []);
});
