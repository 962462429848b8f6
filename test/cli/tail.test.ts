import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Memoir, startTestServer, until } from '../support/memoir.js';

type Line = { readonly position: string; readonly event: { readonly event_type: string; readonly stream: string } };
const linesOf = (text: string) => text.split('\n').filter((line) => line !== '');
const parsed = (text: string) => linesOf(text).map((line) => JSON.parse(line) as Line);

async function scene(t: ExecutionContext): Promise<Memoir> {
  const memoir = await startTestServer(t);
  memoir.repository.commit({ 'a.sh': '#!a', 'b.sh': '#!b' });
  return memoir;
}

test('tail prints what is recorded, as a story, as JSON, and as CloudEvents', async (t) => {
  const { start, submit, run } = await scene(t);
  const first = await submit('a.sh');
  const tails = [[], ['--json'], ['--cloudevents']].map((args) => start(['tail', '--from', 'beginning', ...args]));
  await Promise.all(tails.map((tail) => tail.says(/a\.sh/)));
  const { code } = await run(['cancel', first]);
  t.is(code, 0);
  const [story, json, cloud] = tails;
  await story?.says(/cancelled it/);
  await json?.says(/JobCancelled/);
  await cloud?.says(/JobCancelled/);
  t.regex(
    story?.output() ?? '',
    new RegExp(`^\\S+ ada requested a\\.sh of demo: run 1, queued \\[job-${first}\\]$`, 'm'),
  );
  const [requested, left, cancelled] = parsed(json?.output() ?? '');
  t.deepEqual(
    [requested, left, cancelled].map((line) => line?.event.event_type),
    ['JobRequested', 'JobLeft', 'JobCancelled'],
  );
  const [event] = linesOf(cloud?.output() ?? '').map((line) => JSON.parse(line));
  t.is(event.specversion, '1.0');
  t.is(event.type, 'memoir.events.v1.JobRequested');
  t.is(event.subject, `job-${first}`);
  t.is(event.data.uuid, first);
  t.is(event.data.scriptVersion.length, 40);
  t.regex(event.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  // Interrupted, it ends quietly.
  for (const tail of tails) {
    t.is(await tail.stop('SIGINT'), 0);
    t.is(tail.errors(), '');
  }
});

test('tail prints only what it is asked for', async (t) => {
  const { start, submit } = await scene(t);
  const [a, b] = [await submit('a.sh'), await submit('b.sh')];
  const filters: [string[], string[]][] = [
    [['--script', 'b.sh'], [b]],
    [
      ['--script', 'b.sh', '--script', 'a.sh'],
      [a, b],
    ],
    [['--job', a], [a]],
    [['--owner', 'ada', '--repository', 'd*', '--type', 'JobRequested', '--job', b], [b]],
    [['--from', '1'], [b]],
    [
      ['--from', '2020-01-01'],
      [a, b],
    ],
  ];
  for (const [args, expected] of filters) {
    const from = args.includes('--from') ? [] : ['--from', 'beginning'];
    const tail = start(['tail', '--json', ...from, ...args]);
    await until(() => linesOf(tail.output()).length >= expected.length, 'all that is asked for is printed');
    await tail.stop('SIGINT');
    t.deepEqual(
      parsed(tail.output()).map(({ event }) => event.stream),
      expected.map((uuid) => `job-${uuid}`),
      args.join(' '),
    );
  }
});

test('tail goes on where it was, after the server and after itself', async (t) => {
  const memoir = await scene(t);
  const file = join(memoir.directory, 'token');
  const args = ['tail', '--json', '--from', 'beginning', '--resume', file];
  const printed: string[] = [];
  const take = (text: string) => printed.push(...parsed(text).map(({ position }) => position));
  let count = 0;
  const submit = async () => {
    await memoir.submit('a.sh', { count: count++ });
  };
  await submit();
  const first = memoir.start(args);
  await until(() => linesOf(first.output()).length === 1, 'the first event is printed');
  await memoir.server().stop('SIGKILL');
  await until(() => /trying again/.test(first.errors()), 'it tells that the server is gone');
  await memoir.restart();
  await submit();
  await until(() => linesOf(first.output()).length === 2, 'the second event is printed');
  await until(() => existsSync(file), 'the token is kept');
  const token = () => Buffer.from(readFileSync(file, 'utf8'), 'base64url').toString();
  await until(() => token().startsWith('2 '), 'the token is that of the second event');
  await first.stop('SIGKILL');
  take(first.output());
  await submit();
  const second = memoir.start(args);
  await until(() => linesOf(second.output()).length === 1, 'the third event is printed');
  await second.stop('SIGINT');
  take(second.output());
  t.deepEqual(printed, ['1', '2', '3']);
  t.true(token().startsWith('3 '));
});

test('tail tells what is wrong with what it was given', async (t) => {
  const { run, directory } = await startTestServer(t);
  const file = join(directory, 'token');
  writeFileSync(file, '');
  const wrong: [string[], number, RegExp][] = [
    [['--from', 'yesterday'], 2, /Give beginning, now, the position of an event, or a time/],
    [['--from', '7'], 2, /no event of this log is at position 7/],
    [['--type', 'JobExploded'], 2, /"JobExploded" is none of JobRequested/],
    [['--repository', '[x]'], 2, /"\[x\]" is no glob/],
    [['--json', '--cloudevents'], 2, /cannot be used with/],
    [['--resume', file], 2, /token" holds no resume token/],
    [['--resume', directory], 2, /cannot be read/],
    [['--resume', join(directory, 'no', 'token')], 2, /cannot be written/],
    [['--server', '127.0.0.1:1'], 6, /cannot reach the server/],
  ];
  for (const [args, code, says] of wrong) {
    const said = await run(['tail', ...args]);
    t.is(said.code, code, args.join(' ') + said.err);
    t.regex(said.err, says);
  }
});
