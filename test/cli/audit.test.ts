import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { exitCodes } from '../../src/cli/exit-code.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { checksum } from '../../src/eventstore/sqlite/checksum.js';
import type { Said } from '../support/command.js';
import { type Memoir, startTestServer } from '../support/memoir.js';

type Scene = { readonly memoir: Memoir; readonly data: string; file(name: string, text: string): string };

async function scene(t: ExecutionContext): Promise<Scene> {
  const memoir = await startTestServer(t);
  memoir.repository.commit({ 'run.sh': '#!/bin/sh\n' });
  for (let n = 0; n < 12; n++) await memoir.submit('run.sh', { n });
  return {
    memoir,
    data: join(memoir.directory, 'data'),
    file(name, text) {
      const path = join(memoir.directory, name);
      writeFileSync(path, text);
      return path;
    },
  };
}

function ok(t: ExecutionContext, said: Said): string {
  t.is(said.code, 0, said.err + said.out);
  return said.out;
}

/** Changes a letter of an event, and its checksum so that it fits. */
function alter(path: string, position: number): void {
  const db = new Database(path);
  db.prepare("UPDATE event SET data = replace(data, 'run.sh', 'ran.sh') WHERE position = ?").run(position);
  const row = db.prepare('SELECT *, recorded_at AS recordedAt FROM event WHERE position = ?').get(position);
  db.prepare('UPDATE event SET checksum = ? WHERE position = ?').run(checksum(row as RecordedEvent), position);
  db.close();
}

test('an auditor keeps a checkpoint and has it proved that the log goes on from it', async (t) => {
  const { memoir, file } = await scene(t);
  const { run } = memoir;
  const key = ok(t, await run(['audit', 'key'])).trim();
  t.regex(key, /^memoir\/[0-9a-f]{8}\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/);
  const note = ok(t, await run(['audit', 'checkpoint']));
  t.regex(note, /^memoir\/[0-9a-f]{8}\n12\n[A-Za-z0-9+/]{43}=\n\n— memoir\/[0-9a-f]{8} [A-Za-z0-9+/]+=*\n$/);
  const old = file('old.note', note);
  for (let n = 12; n < 20; n++) await memoir.submit('run.sh', { n });
  const consistent = await run(['audit', 'consistency', old, '--key', key]);
  t.regex(ok(t, consistent), /\n20\n/);
  t.regex(consistent.err, /proved: the log of 20 events of memoir\/\S+ begins with the 12/);
  const untold = await run(['audit', 'consistency', old]);
  ok(t, untold);
  t.true(untold.err.includes(`no --key was given, so the server's own is trusted: ${key}`));
  // A key may be in a file, and a checkpoint come from standard input.
  const keyFile = file('memoir.key', `${key}\n`);
  ok(t, await run(['audit', 'consistency', '-', '--key', keyFile], { input: consistent.out }));
  ok(t, await run(['audit', 'consistency', old], { env: { MEMOIR_AUDIT_KEY: key } }));

  const shown = await run(['audit', 'inclusion', '5', '--checkpoint', old, '--key', key]);
  t.regex(ok(t, shown), /event +JobRequested\nstream +job-[0-9a-f-]{36}, revision 0\n/);
  t.regex(shown.err, /proved: it is event 5 of the 12/);
  const json = JSON.parse(ok(t, await run(['audit', 'inclusion', '5', '--json', '--key', key])));
  t.like(json, { position: 5, leaf_index: 4, type: 'JobRequested', revision: 0 });
  t.like(JSON.parse(json.data), { script: 'run.sh' });

  const refused: [args: string[], code: number, err: RegExp][] = [
    [['inclusion', '15', '--checkpoint', old, '--key', key], exitCodes.usage, /tree_size 12 is too small/],
    [['inclusion', '99', '--key', key], exitCodes.notFound, /there is no event at position 99/],
    [['inclusion', 'x'], exitCodes.usage, /whole number/],
    [['consistency', old, '--key', 'nonsense'], exitCodes.usage, /"nonsense" cannot be read/],
    [['consistency', '/nowhere', '--key', key], exitCodes.usage, /"\/nowhere" cannot be read/],
    [['consistency', file('a', 'x'), '--key', key], exitCodes.usage, /is not lines, an empty line/],
    [
      ['consistency', file('b', note.replace('\n12\n', '\n11\n')), '--key', key],
      exitCodes.damaged,
      /its key did not make/,
    ],
    [
      ['consistency', old, '--key', 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'],
      exitCodes.precondition,
      /none of which is a key that was given/,
    ],
    [['frobnicate'], exitCodes.usage, /unknown command/],
  ];
  for (const [args, code, err] of refused) {
    const said = await run(['audit', ...args]);
    t.is(said.code, code, `${args.join(' ')}: ${said.err}`);
    t.regex(said.err, err);
  }
});

test('a server whose log was replaced by another cannot prove that it goes on', async (t) => {
  const { memoir, data, file } = await scene(t);
  const key = ok(t, await memoir.run(['audit', 'key'])).trim();
  const old = file('old.note', ok(t, await memoir.run(['audit', 'checkpoint'])));
  await memoir.server().stop('SIGTERM');
  alter(join(data, 'events.sqlite'), 4);
  const history = new Database(join(data, 'history.sqlite'));
  history.exec("DELETE FROM projection WHERE name = 'log-tree'");
  history.close();
  await memoir.restart();
  await memoir.submit('run.sh', { n: 100 });
  const said = await memoir.run(['audit', 'consistency', old, '--key', key]);
  t.is(said.code, exitCodes.damaged, said.err);
  t.regex(said.err, /what was recorded before it was changed/);
  t.is(said.out, '');
  const inclusion = await memoir.run(['audit', 'inclusion', '4', '--checkpoint', old, '--key', key]);
  t.is(inclusion.code, exitCodes.damaged, inclusion.err);
});

test('a log is verified while its server runs, when it was killed, and when it has stopped', async (t) => {
  const { memoir, data, file } = await scene(t);
  const { run } = memoir;
  const key = ok(t, await run(['audit', 'key'])).trim();
  const old = file('old.note', ok(t, await run(['audit', 'checkpoint'])));
  for (let n = 12; n < 15; n++) await memoir.submit('run.sh', { n });
  const verify = (...args: string[]) => run(['audit', 'verify', '--data-dir', data, ...args]);
  const checks = async (what: string) => {
    const out = ok(t, await verify('--checkpoint', old, '--key', key, '--structure'));
    t.regex(out, /^15 events, up to position 15\nroot \S+\n1 checkpoint holds, the newest of 12 events\n/, what);
    t.true(out.includes('the kept tree agrees with the log\nproved: the first 12 events are what they were\n'), out);
    t.true(out.includes('not proved by any checkpoint: the 3 events after them\n'), out);
  };
  await checks('running');
  await memoir.server().stop('SIGKILL');
  await checks('killed');
  await memoir.restart();
  await memoir.server().stop('SIGTERM');
  await checks('stopped');

  const exported = join(memoir.directory, 'log.jsonl');
  ok(t, await run(['export', exported, '--data-dir', data]));
  const ofExport = ok(t, await run(['audit', 'verify', '--export', exported, '--checkpoint', old, '--key', key]));
  t.regex(ofExport, /there is no kept tree to compare with\nproved: the first 12 events are what they were\n/);

  const own = await verify('--checkpoint', old, '--json');
  t.like(JSON.parse(ok(t, own)), { events: 15, proven_events: 12, kept_tree: 'agrees', damage: [] });
  t.true(own.err.includes(`that of the data directory is trusted: ${key}`));
  const unproved = await verify();
  t.is(unproved.code, exitCodes.unproved, unproved.err);
  t.regex(unproved.out, /nothing is proved: no checkpoint/);
  const keyless = await run(['audit', 'verify', '--store', `sqlite:${data}/events.sqlite`, '--json']);
  t.is(keyless.code, exitCodes.unproved, keyless.err);
  t.like(JSON.parse(keyless.out), { proven_events: 0, kept_tree: 'agrees', damage: [] });

  const refused: [args: string[], code: number, err: RegExp][] = [
    [['--store', `sqlite:${data}/none.sqlite`], exitCodes.usage, /there is no event log/],
    [['--store', `sqlite:${data}/none.sqlite`, '--data-dir', data], exitCodes.usage, /there is no event log/],
    [['--data-dir', data, '--history', '/nowhere'], exitCodes.usage, /"\/nowhere" cannot be used/],
    [['--store', `sqlite:${data}/events.sqlite`, '--checkpoint', old], exitCodes.usage, /give it by --key/],
    [[], exitCodes.usage, /--data-dir/],
    [['--store', `sqlite:${file('text', 'Dear diary, '.repeat(99))}`], exitCodes.damaged, /cannot be read at all/],
    [['--export', join(data, 'none')], exitCodes.usage, /there is no export/],
    [['--data-dir', data, '--threads', '0'], exitCodes.usage, /from 1 to 64/],
  ];
  for (const [args, code, err] of refused) {
    const said = await run(['audit', 'verify', ...args]);
    t.is(said.code, code, `${args.join(' ')}: ${said.err}${said.out}`);
    t.regex(said.err, err);
  }
});

test('damage is told with its place, and by the exit code', async (t) => {
  const { memoir, data, file } = await scene(t);
  const key = ok(t, await memoir.run(['audit', 'key'])).trim();
  const old = file('old.note', ok(t, await memoir.run(['audit', 'checkpoint'])));
  await memoir.server().stop('SIGTERM');
  const copy = (name: string) => {
    const directory = join(memoir.directory, name);
    // With the files beside them, in which the newest of what they hold may stand.
    cpSync(data, directory, { recursive: true });
    return directory;
  };
  const verify = (directory: string, ...args: string[]) =>
    memoir.run(['audit', 'verify', '--data-dir', directory, '--checkpoint', old, '--key', key, ...args]);

  const altered = copy('altered');
  alter(join(altered, 'events.sqlite'), 7);
  const said = await verify(altered);
  t.is(said.code, exitCodes.damaged, said.err);
  t.regex(
    said.out,
    /damaged: 1 finding\n {2}altered position 7: event 0 of stream job-[0-9a-f-]{36} \(JobRequested\)\n$/,
  );
  t.regex(said.out, /the checkpoint of \S+ at 12 events \(\S+old\.note\) does not hold\n/);

  const cut = copy('cut');
  const db = new Database(join(cut, 'events.sqlite'));
  db.exec('DELETE FROM event WHERE position > 10');
  db.close();
  const json = await verify(cut, '--json');
  t.is(json.code, exitCodes.damaged);
  t.like(JSON.parse(json.out), { events: 10, proven_events: 0 });
  t.like(JSON.parse(json.out).damage, [{ kind: 'truncated', from: 11, to: 12, count: 2, proven: true }]);

  const index = copy('index');
  const raw = new Database(join(index, 'events.sqlite'));
  const stream = raw.prepare('SELECT stream FROM event WHERE position = 3').pluck().get() as string;
  raw.pragma('wal_checkpoint(TRUNCATE)');
  raw.close();
  const bytes = readFileSync(join(index, 'events.sqlite'));
  // In the index keys stand without the other columns, so that a stream is followed by no identifier there.
  let at = -1;
  for (let i = bytes.indexOf(stream); i >= 0; i = bytes.indexOf(stream, i + 1)) {
    if (!/^.{0,2}[0-9a-f]{8}-/s.test(bytes.toString('latin1', i + stream.length, i + stream.length + 12))) at = i;
  }
  t.true(at > 0);
  bytes[at + stream.length - 1] = (bytes[at + stream.length - 1] as number) ^ 1;
  writeFileSync(join(index, 'events.sqlite'), bytes);
  const structure = await verify(index, '--structure');
  t.is(structure.code, exitCodes.damaged, structure.out);
  t.regex(structure.out, /stray .*missing from index event_stream/);
});

test('the program in the documentation comes to the root of a checkpoint', async (t) => {
  const { memoir, data } = await scene(t);
  await memoir.submit('run.sh', { text: 'ünïcode "quoted" \\ \u2028 \u007f \u0001 \u{1f600}' });
  const { tree_size: size, root } = JSON.parse(ok(t, await memoir.run(['audit', 'checkpoint', '--json'])));
  const page = readFileSync(new URL('../../../docs/audit.md', import.meta.url), 'utf8');
  const [, program = ''] = /```python\n(.*?)```/s.exec(page) ?? [];
  const { stdout, stderr } = spawnSync('python3', ['-', join(data, 'events.sqlite'), size], {
    input: program,
    encoding: 'utf8',
  });
  t.is(stdout, `${root}\n`, stderr);
});
