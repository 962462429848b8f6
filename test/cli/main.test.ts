import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import anyTest, { type TestFn } from 'ava';
import { startMemoir } from '../../demo/program.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { computationDigest, jobUuid } from '../../src/domain/computation.js';
import { type Memoir, startTestServer, until } from '../support/memoir.js';

// One server for all: the tests use parameters of their own.
const test = anyTest as TestFn<{ memoir: Memoir; end: () => Promise<void> }>;
const shared: { memoir?: Memoir; ends: (() => unknown)[] } = { ends: [] };
const absent = '00000000-0000-5000-8000-000000000000';

test.before(async () => {
  const memoir = await startTestServer({ teardown: (end) => void shared.ends.push(end) });
  shared.memoir = memoir;
  writeFileSync(join(memoir.repository.path, 'run.sh'), '#!/bin/sh\ncat > "$MEMOIR_OUTPUT/out"\n');
  chmodSync(join(memoir.repository.path, 'run.sh'), 0o755);
  memoir.repository.commit({
    'past.sh': '#!/bin/sh\n',
    'short.sh': '#!/bin/sh\n',
    'alike.sh': '#!/bin/sh\n',
    'fail.txt': 'not executable',
  });
});

test.after.always(async () => {
  for (const end of shared.ends) await end();
});

test.beforeEach((t) => {
  if (!shared.memoir) throw new Error('there is no server');
  t.context.memoir = shared.memoir;
});

const submit = (...args: string[]) => ['submit', '--repository', 'demo', '--script', 'run.sh', ...args];

test('submit says whether the job is new and why; the same again is reused', async (t) => {
  const { run } = t.context.memoir;
  const first = await run(submit('-p', 'case=submit', '-p', 'n=[1,2]'));
  t.is(first.code, 0, first.err);
  t.regex(first.out, /^new [0-9a-f-]{36} Queued\n {2}version: [0-9a-f]{40} \(given as HEAD\)\n {2}why: a new job/);
  const uuid = first.out.split(' ')[1];
  const again = await run(submit('--script-version', 'main', '--parameters', '-'), {
    input: '{"n": [1.0, 2], "case": "submit"}',
  });
  t.true(again.out.startsWith(`reused ${uuid} Queued\n`), again.out + again.err);
  const another = await run(submit('-p', 'case=submit', '-p', 'n=[1,2]', '--always-new', '--json'));
  const answer = JSON.parse(another.out);
  t.false(answer.reused);
  t.is(answer.job.run_number, 2);
  t.deepEqual(answer.job.script_parameters, { case: 'submit', n: [1, 2] });
  t.is(answer.decision.outcome, 'OUTCOME_CREATED_AS_ASKED');
  const other = await run(submit('-p', 'case=submit', '-p', 'n=[1,2]', '--verbose'), {
    env: { MEMOIR_PRINCIPAL: 'bob' },
  });
  // Whose it is does not matter: who may read it joins it.
  t.regex(other.out, new RegExp(`^reused ${uuid} Queued\n`));
  t.regex(other.out, new RegExp(`candidate ${uuid} Queued: the answer`));
});

test.serial('a range of commits and commits to leave out can be given', async (t) => {
  const { run, repository } = t.context.memoir;
  const first = repository.git('rev-parse', 'HEAD');
  repository.commit({ other: 'more' });
  const job = JSON.parse((await run(submit('-p', 'case=range', '--script-version', first, '--json'))).out).job;
  const ranged = await run(submit('-p', 'case=range', '--minimum-script-version', first, '--verbose'));
  t.true(ranged.out.startsWith(`reused ${job.uuid}`), ranged.out + ranged.err);
  t.regex(ranged.out, /minimum_script_version [0-9a-f]{40} is /);
  const without = ['--minimum-script-version', first, '--exclude-script-version', first.slice(0, 10)];
  t.regex((await run(submit('-p', 'case=range', ...without, '--max-heartbeat-age', '60'))).out, /^new /);
});

test('get, list and explain answer as of a position or a time', async (t) => {
  const { run, submit: request } = t.context.memoir;
  const uuid = await request('past.sh', { case: 'past' });
  const history = (await run(['history', uuid, '--json'])).out.trimEnd().split('\n');
  const { position } = JSON.parse(history[0] ?? '');
  const before = String(Number(position) - 1);
  await run(['update', uuid, '--priority', '9']);
  const priority = async (...args: string[]) => JSON.parse((await run(['get', uuid, '--json', ...args])).out).priority;
  t.is(await priority(), 9);
  t.is(await priority('--as-of', position), 0);
  t.is((await run(['get', uuid, '--as-of', before])).code, 3);
  t.is((await run(['get', uuid, '--as-of', '2020-01-01T00:00:00Z'])).code, 3);
  t.is((await run(['get', uuid, '--as-of', '2999-01-01'])).code, 2);
  t.is((await run(['get', uuid, '--as-of', '12h'])).code, 3);
  const beyond = await run(['get', uuid, '--as-of', '999999999']);
  t.is(beyond.code, 2);
  t.regex(beyond.err, /as_of\.position 999999999 is beyond the end of the log/);
  for (const text of ['soon', '-1', '2026-13-01', '1.5', '']) {
    const { code, err } = await run(['get', uuid, `--as-of=${text}`]);
    t.is(code, 2, text);
    t.regex(err, /Give a position of the log, or a time such as/, text);
  }
  const listed = async (asOf: string) =>
    (await run(['list', '--json', '--filter', '["script","=","past.sh"]', '--as-of', asOf])).out.includes(uuid);
  t.deepEqual([await listed(before), await listed(position)], [false, true]);
  const explain = ['explain', '--repository', 'demo', '--script', 'past.sh', '-p', 'case=past'];
  t.regex((await run([...explain, '--as-of', before])).out, /^would be new /);
  t.regex((await run([...explain, '--as-of', position])).out, new RegExp(`^would be reused ${uuid}`));
});

test('every request field of a job can be given', async (t) => {
  const { run } = t.context.memoir;
  const args = [
    '-p',
    'case=fields',
    '--nondeterministic',
    '--priority',
    '-7',
    '--submit-id',
    'my id',
    '--description',
    'd\ne',
  ];
  const { out, err } = await run(submit(...args, '--component', `part=${absent}`, '--min-nodes', '2', '--json'));
  const { job } = JSON.parse(out || err);
  t.true(job.nondeterministic);
  t.is(job.priority, -7);
  t.is(job.submit_id, 'my id');
  t.is(job.description, 'd\ne');
  t.deepEqual(job.components, { part: absent });
  t.is(job.runtime_constraints.min_nodes, 2);
  t.is(job.owner, 'ada');
});

test('the exit codes tell what happened', async (t) => {
  const { run, directory } = t.context.memoir;
  const uuid = JSON.parse((await run(submit('-p', 'case=codes', '--json'))).out).job.uuid;
  const large = join(directory, 'large.json');
  writeFileSync(large, JSON.stringify({ big: 'x'.repeat(5_000_000) }));
  const cases: [args: string[], code: number, err: RegExp][] = [
    [['get', uuid], 0, /^$/],
    [['--help'], 0, /^$/],
    [[], 2, /Usage/],
    [['frobnicate'], 2, /unknown command/],
    [['get'], 2, /missing required argument/],
    [['get', uuid, '--frob'], 2, /unknown option/],
    [['list', '--limit', '0'], 2, /whole number/],
    [['get', 'no-uuid'], 2, /"no-uuid"[\s\S]*field: uuid/],
    [
      submit('--script-version', 'no-such-branch'),
      2,
      /"no-such-branch"[\s\S]*reason: UNRESOLVABLE_REFSPEC[\s\S]*field: script_version/,
    ],
    [['submit', '--repository', 'none', '--script', 'x'], 2, /"none"[\s\S]*reason: UNKNOWN_REPOSITORY/],
    [submit('--parameters', '/no/such/file'), 2, /"\/no\/such\/file": ENOENT/],
    [
      submit('--parameters', large),
      2,
      /3145728 is the limit.*most of it is script_parameters, 5000010 bytes[\s\S]*field: script_parameters/,
    ],
    [submit('--parameters', '/dev/zero'), 2, /"\/dev\/zero": more than 16777216 bytes[\s\S]*field: script_parameters/],
    [submit('-p', 'x=12345678901234567890'), 2, /INEXACT_NUMBER/],
    [['list', '--filter', '["priority","=",9007199254740993]'], 2, /INEXACT_NUMBER/],
    [['tail', '--from', 'bogus'], 2, /beginning, now, the position of an event, or a time as .*90m/],
    [['get', 'abcdef'], 3, /no job that you may read begins with "abcdef"[\s\S]*reason: JOB_NOT_FOUND/],
    [
      submit('-p', 'x=1', '--server', '127.0.0.1:1', '--wait-for-server', '0.1'),
      6,
      /cannot reach the server at 127.0.0.1:1/,
    ],
    [submit('--always-new', '--find-or-create'), 2, /exclude each other/],
    [['update', uuid], 2, /nothing to change/],
    [['get', absent], 3, /no job[\s\S]*reason: JOB_NOT_FOUND/],
    [['history', absent], 3, /NOT_FOUND/],
    [['log', absent], 3, /NOT_FOUND/],
    [['watch', absent], 3, /NOT_FOUND/],
    [['delete', uuid], 4, /JOB_NOT_FINISHED/],
    [['update', uuid, '--priority', '1', '--expected-revision', '99'], 4, /REVISION_MISMATCH/],
    [['get', uuid, '--server', '127.0.0.1:1'], 6, /cannot reach the server at 127.0.0.1:1/],
    [['get', uuid, '--server', 'nonsense'], 2, /host:port/],
    [['get', uuid, '--principal', 'two words'], 2, /"two words"/],
    [['watch', uuid, '--server', '127.0.0.1:1'], 6, /cannot reach/],
  ];
  for (const [args, code, err] of cases) {
    const said = await run(args);
    t.is(said.code, code, `${args.join(' ')}: ${said.err}`);
    t.regex(said.err, err, args.join(' '));
    if (code !== 0) t.is(said.out, '', args.join(' '));
  }
});

test('cancel, update and delete do what they say, and history tells it', async (t) => {
  const { run } = t.context.memoir;
  const part = JSON.parse((await run(submit('-p', 'case=part', '--json'))).out).job.uuid;
  const uuid = JSON.parse((await run(submit('-p', 'case=whole', '--json'))).out).job.uuid;
  const updated = await run(['update', uuid, '--component', `part=${part}`, '--priority', '5', '--json']);
  t.is(JSON.parse(updated.out).job.priority, 5);
  t.is((await run(['cancel', uuid, '--cascade'])).out, `cancelled ${uuid}\ncancelled ${part}\n`);
  t.is((await run(['cancel', uuid])).out, `${uuid} was cancelled before\n`);
  t.is((await run(['watch', uuid])).code, 1);
  const late = await run(['update', uuid, '--priority', '6']);
  t.is(late.code, 4);
  t.regex(late.err, /is Cancelled: its priority decides nothing any more[\s\S]*JOB_FINISHED/);
  t.is((await run(['update', part, '--description', 'was wrong'])).code, 0);
  const history = await run(['history', uuid]);
  t.regex(history.out, /^\S+ ada requested run.sh of demo: run 1, queued$/m);
  t.regex(history.out, /^\S+ \(\+.*\) ada changed it\n {4}priority: 5\n {4}components: \{"part":/m);
  t.regex(history.out, /ada cancelled it$/m);
  t.regex((await run(['history', part])).out, new RegExp(`cancelled it\\n {4}with job ${uuid}, which started it`));
  const events = (await run(['history', uuid, '--json'])).out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.deepEqual(
    events.map(({ event_type }) => event_type),
    ['JobRequested', 'JobUpdated', 'JobLeft', 'JobCancelled'],
  );
  t.is((await run(['delete', uuid])).out, `deleted ${uuid}\n`);
  t.is((await run(['get', uuid])).code, 3);
  t.regex((await run(['history', uuid])).out, /ada deleted it/);
  const { computation_digest: computation } = JSON.parse(
    (await run(['history', uuid, '--json'])).out.split('\n')[0] ?? '',
  ).job_requested as { computation_digest: string };
  const ofRepository = await run(['history', '--repository', 'demo', '--by', 'ada', '--since', '1h']);
  t.regex(ofRepository.out, new RegExp(`requested run.sh of demo: run 1, queued \\[job-${uuid}\\]\n`));
  t.is((await run(['history', '--computation', computation])).out.match(/\n\S+ /g)?.length, 4);
  const none = await run(['history', '--repository', 'demo', '--until', '2001-01-01']);
  t.deepEqual([none.code, none.out], [0, '']);
  t.regex(none.err, /nothing was recorded of that/);
  t.regex((await run(['history', '--since', 'yesterday'])).err, /90m, 12h, 7d/);
  t.regex((await run(['history'])).err, /uuid is required, or one of computation_digest/);
});

test('retry runs a cancelled job again, once, and says by which', async (t) => {
  const { run } = t.context.memoir;
  const uuid = JSON.parse((await run(submit('-p', 'case=retried', '--json'))).out).job.uuid;
  t.regex((await run(['retry', uuid])).err, /is Queued[\s\S]*reason: JOB_NOT_RETRIABLE/);
  await run(['cancel', uuid]);
  const first = await run(['retry', uuid, '--priority', '3']);
  const [, made = ''] = new RegExp(`^${uuid}: is run again by (\\S+)\n$`).exec(first.out) ?? [];
  t.regex(made, /^[0-9a-f-]{36}$/, first.err);
  t.regex((await run(['get', made])).out, new RegExp(`run again for +${uuid}`));
  const again = await run(['retry', uuid, made]);
  t.is(again.out, `${uuid}: was run again before by ${made}\n`);
  t.regex(again.err, new RegExp(`^${made}: job ${made} is Queued`));
  t.is(again.code, 4);
  const dry = await run(['retry', uuid, '--dry-run']);
  t.deepEqual([dry.code, dry.out], [0, `${uuid}\n`]);
  t.regex(dry.err, /1 job would be run again; nothing was done/);
  // Where the same work is under way by another job, that is the answer.
  const old = JSON.parse((await run(submit('-p', 'case=retried beside', '--json'))).out).job.uuid;
  await run(['cancel', old]);
  const beside = JSON.parse((await run(submit('-p', 'case=retried beside', '--json'))).out).job.uuid;
  t.not(beside, old);
  t.is((await run(['retry', old])).out, `${old}: is the same work as ${beside}\n`);
  t.is((await run(['retry', old, beside])).out, `${old}: is the same work as ${beside}\n`);
  const asked = await run(['list', '--requested-by', 'ada', '--requested-by', 'nobody', '--json', '--limit', '1']);
  t.is(JSON.parse(asked.out).uuid, beside);
  t.is((await run(['list', '--requested-by', 'nobody', '--json'])).out, '');
});

test('a job of somebody else is told with the refspec that one gave oneself', async (t) => {
  const { run } = t.context.memoir;
  const args = submit(
    '-p',
    'case=accepted',
    '--filter',
    '["repository","=","demo"]',
    '--filter',
    '["script","=","run.sh"]',
  );
  const first = await run([...args, '--script-version', 'main']);
  const [, uuid = '', commit = ''] = /^new (\S+)[\s\S]*version: (\S+) \(given as main\)/.exec(first.out) ?? [];
  const again = await run([...args, '--script-version', 'HEAD']);
  t.regex(again.out, new RegExp(`^reused ${uuid} Queued\n {2}version: ${commit} \\(accepted for HEAD\\)\n`));
  const bare = await run([...args, '--script-version', commit]);
  t.regex(bare.out, new RegExp(`^reused ${uuid} Queued\n {2}version: ${commit}\n`));
  t.regex(
    (await run([...args, '--nondeterministic'])).out,
    /^new /,
    'one run of what may differ does not do for another',
  );
  t.regex((await run([...args, '--nondeterministic', '--find-or-create'])).out, /^reused /);
});

test('a uuid may be shortened as long as it names one job', async (t) => {
  const { run, submit: request } = t.context.memoir;
  const uuid = await request('short.sh', { case: 'short' });
  for (const short of [uuid.slice(0, 13), uuid.slice(0, 8).toUpperCase()]) {
    t.is(JSON.parse((await run(['get', short, '--json'])).out).uuid, uuid);
  }
  t.is((await run(['cancel', uuid.slice(0, 18)])).out, `cancelled ${uuid}\n`);
  t.regex((await run(['history', uuid.slice(0, 18)])).out, /ada cancelled it/);
  t.is((await run(['get', uuid.slice(0, 3)])).code, 2, 'too short');
  t.is((await run(['get', `${uuid.slice(0, 9)}%`])).code, 2, 'no pattern');
});

test('a uuid that was shortened too far names the jobs that it may mean', async (t) => {
  const { run, submit: request } = t.context.memoir;
  const seen = new Map<string, number>();
  for (let i = 0; ; i++) {
    const computation = { repository: 'demo', script: 'alike.sh', scriptParameters: { i } };
    const short = jobUuid(computationDigest(computation), 1).slice(0, 4);
    const other = seen.get(short);
    seen.set(short, i);
    if (other === undefined) continue;
    const uuids = [await request('alike.sh', { i }), await request('alike.sh', { i: other })];
    const { code, err } = await run(['cancel', short]);
    t.is(code, 2);
    t.regex(err, new RegExp(`several jobs begin with "${short}":\\n[\\s\\S]*reason: AMBIGUOUS_UUID`));
    for (const uuid of uuids) t.true(err.includes(`\n  ${uuid}  alike.sh of demo\n`), err);
    break;
  }
});

test('whoever interrupts the waiting is told that the job goes on', async (t) => {
  const { start, get } = t.context.memoir;
  const program = start(submit('-p', 'case=interrupted', '--wait'));
  const [, uuid = ''] = await program.says(/^new (\S+)/);
  await until(() => /Queued/.test(program.errors()), 'it waits');
  t.is(await program.stop('SIGINT'), 130);
  t.regex(program.errors(), new RegExp(`job ${uuid} goes on: .memoir watch ${uuid}. .*memoir cancel ${uuid}`));
  t.is((await get(uuid)).state, JobState.QUEUED);
});

test.serial('lists follow as many pages as they need', async (t) => {
  const { run } = t.context.memoir;
  for (const i of [1, 2, 3]) await run(submit('-p', 'case=list', '-p', `i=${i}`));
  const all = (await run(['list', '--all', '--json'])).out.trimEnd().split('\n');
  t.true(all.length >= 3);
  for (const line of all) t.is(JSON.parse(line).repository, 'demo');
  const two = await run(['list', '--limit', '2']);
  t.is(two.out.trimEnd().split('\n').length, 3);
  t.regex(two.err, /more than these 2/);
  const selected = await run(['list', '--limit', '1', '--select', 'priority,owner']);
  t.regex(selected.out, /^UUID +PRIORITY +OWNER\n\S{36} +0 +ada\n$/);
  const size = Number((await run(['queue', '--size'])).out);
  t.is((await run(['queue', '--json'])).out.trimEnd().split('\n').length, size);
  t.notRegex((await run(['list'])).out.replaceAll('\n', ''), /\p{Cc}/u);
});

test('a reader that goes away ends a list quietly', (t) => {
  const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  const command = `'${process.execPath}' '${main}' list --all --json | true; echo "\${PIPESTATUS[0]}"`;
  const { address } = t.context.memoir;
  const { stdout, stderr } = spawnSync('bash', ['-c', command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, MEMOIR_SERVER: address },
  });
  t.is(stdout, '0\n');
  t.is(stderr, '');
});

test('a wrong configuration names its place, and a server that cannot start says why', async (t) => {
  const { directory, address, repository } = t.context.memoir;
  const file = join(directory, 'bad.toml');
  writeFileSync(file, 'data_dir = "x"\nfrobnicate = 1\n');
  const other = join(directory, 'other-data');
  mkdirSync(other);
  const cases: [args: string[], env: Record<string, string>, err: RegExp][] = [
    [['serve'], {}, /no data directory/],
    [['serve', '--config', file], {}, /bad.toml": unknown key "frobnicate"/],
    [['serve'], { MEMOIR_CONFIG: file }, /bad.toml": unknown key "frobnicate"/],
    [['serve', '--data-dir', other], { MEMOIR_LOG_LEVEL: 'loud' }, /MEMOIR_LOG_LEVEL: "loud"/],
    [['serve', '--data-dir', other, '--listen', address], {}, /cannot start.*(in use|EADDRINUSE)/],
    [['serve', '--data-dir', other, '--repository', 'r=/no/where'], {}, /no\/where/],
    [['worker', '--store-dir', other, '--server', address], {}, /no local repository is given/],
    [
      [
        'worker',
        '--store-dir',
        other,
        '--server',
        address,
        '--repository',
        `r=${repository.path}`,
        '--pass-env',
        'NOPE',
      ],
      {},
      /--pass-env "NOPE": the variable is not set/,
    ],
  ];
  for (const [args, env, err] of cases) {
    const program = startMemoir(args, { env });
    t.is(await program.ended(), 2, `${args.join(' ')}: ${program.errors()}`);
    t.regex(program.errors(), err);
    t.notRegex(program.errors(), /internal error/);
  }
});

test('no proxy is asked for a server of this machine, and an error names the one that was', async (t) => {
  const { run } = t.context.memoir;
  const env = { http_proxy: 'http://ada:secret@127.0.0.1:1' };
  t.is((await run(['queue', '--size'], { env })).code, 0);
  const { code, err } = await run(['queue', '--size', '--server', 'memoir.invalid:7420'], { env });
  t.is(code, 6);
  t.regex(err, /cannot reach the server at memoir\.invalid:7420 by the proxy 127\.0\.0\.1:1 \(http_proxy\)/);
  t.notRegex(err, /secret|undefined|Failed to connect/);
});
