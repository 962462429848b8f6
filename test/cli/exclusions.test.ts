import anyTest, { type TestFn } from 'ava';
import { type Memoir, startTestServer } from '../support/memoir.js';

const test = anyTest as TestFn<{ memoir: Memoir }>;
const shared: { memoir?: Memoir; ends: (() => unknown)[] } = { ends: [] };

test.before(async () => {
  shared.memoir = await startTestServer({ teardown: (end) => void shared.ends.push(end) });
  shared.memoir.repository.commit({ 'run.sh': '#!/bin/sh\n' });
});

test.after.always(async () => {
  for (const end of shared.ends) await end();
});

test.beforeEach((t) => {
  if (!shared.memoir) throw new Error('there is no server');
  t.context.memoir = shared.memoir;
});

test.serial('exclude shows what it would hit, does it, is listed, and is lifted', async (t) => {
  const { run, submit } = t.context.memoir;
  const uuid = await submit('run.sh', { n: 1 });
  const submitAgain = ['submit', '--repository', 'demo', '--script', 'run.sh', '-p', 'n=1', '--verbose'];
  const args = [
    'exclude',
    '--repository',
    'demo',
    '--introduced-by',
    'HEAD',
    '--cascade',
    '--reason',
    'bad \u202erounding',
  ];
  const dry = await run([...args, '--dry-run']);
  t.is(dry.code, 0, dry.err);
  t.regex(
    dry.out,
    new RegExp(
      `^would exclude the commits of "demo" from [0-9a-f]{40} on: 1 job would no longer be reused\n  ${uuid}\n$`,
    ),
  );
  t.regex((await run(submitAgain)).out, /^reused/);
  const done = await run(args);
  const [, id = ''] =
    /^exclusion (\S+) of the commits of "demo" from [0-9a-f]{40} on: 1 job no longer reused\n/.exec(done.out) ?? [];
  t.not(id, '', done.out + done.err);
  const again = await run(submitAgain);
  t.regex(again.out, /^new/);
  t.true(
    again.out.replaceAll(/\s+/g, ' ').includes(`ruled out by excluded (it is under exclusion ${id} of the commits`),
    again.out,
  );
  t.notRegex(again.out, /\u202e/);
  const listed = await run(['exclusions']);
  t.regex(listed.out, new RegExp(`${id} .* ada .*and what took its output .*bad \\\\u\\{202e\\}rounding .*stands`));
  const lifted = await run(['reinstate', id, '--reason', 'it was right']);
  t.is(lifted.out, `lifted exclusion ${id}\n`);
  t.is((await run(['reinstate', id, '--reason', 'x'])).code, 4);
  t.is((await run(['exclusions', '--repository', 'demo'])).err, 'no exclusions\n');
  const all = (await run(['exclusions', '--reinstated', '--json'])).out.trimEnd().split('\n');
  t.like(JSON.parse(all[0] ?? ''), {
    reinstated: true,
    reinstated_reason: 'it was right',
    exclusion: { id, cascade: true },
  });
});

test.serial('every kind of target can be given, and only one at a time', async (t) => {
  const { run, submit } = t.context.memoir;
  const uuid = await submit('run.sh', { n: 2 });
  const because = ['--reason', 'r'];
  const good: [args: string[], out: RegExp][] = [
    [[uuid], /of job [0-9a-f-]{36}: 1 job/],
    [['--repository', 'demo', '--commit', 'main'], /of commit [0-9a-f]{40} of "demo": /],
    [['--repository', 'demo', '--introduced-by', 'main~1', '--fixed-by', 'main'], /until [0-9a-f]{40}: /],
    [['--image', 'sha256:image'], /of docker image "sha256:image": 0 jobs/],
    [['--output', 'sha256:out'], /of output "sha256:out": 0 jobs/],
    [['worker', 'farm', '--name', 'n7'], /of worker "n7" of "farm": 0 jobs/],
    [
      ['worker', 'farm', '--from', '2026-01-31', '--until', '2026-02-01'],
      /of all workers of "farm" from 2026-01-31T00:00:00.000Z until 2/,
    ],
  ];
  t.context.memoir.repository.commit({ 'other.txt': 'x' });
  for (const [args, out] of good) {
    const said = await run(['exclude', ...args, ...because]);
    t.is(said.code, 0, said.err);
    t.regex(said.out, out);
  }
  const bad: [args: string[], code: number, err: RegExp][] = [
    [['exclude', ...because], 2, /give one of/],
    [['exclude', uuid], 2, /--reason/],
    [['exclude', uuid, '--output', 'x', ...because], 2, /give one of/],
    [['exclude', '--commit', 'main', ...because], 2, /need --repository/],
    [['exclude', '--output', 'x', '--repository', 'demo', ...because], 2, /nothing else takes it/],
    [['exclude', uuid, '--fixed-by', 'main', ...because], 2, /--fixed-by needs --introduced-by/],
    [['exclude', uuid, '--lost', ...because], 2, /--lost goes with --output alone/],
    [['exclude', '--output', 'x', '--lost', '--cascade', ...because], 2, /--lost goes with --output alone/],
    [['exclude', 'worker', ...because], 2, /needs a principal/],
    [['exclude', 'worker', '--name', 'n7', ...because], 2, /needs a principal/],
    [['exclude', uuid, '--name', 'n7', ...because], 2, /--until need it/],
    [['exclude', 'worker', 'farm', '--output', 'x', ...because], 2, /give one of/],
    [['exclude', 'worker', 'farm', '--from', '2026-02-01', '--until', '2026-01-31', ...because], 2, /EMPTY_TIME/],
    [['exclude', 'worker', 'farm', '--from', 'yesterday', ...because], 2, /Give a time/],
    [['exclude', '--output', 'never', '--lost', ...because], 3, /no job has the output "never"/],
    [['exclude', '--repository', 'demo', '--commit', 'nope', ...because], 2, /"nope"[\s\S]*field: commit.commit/],
    [['exclude', uuid, '--max-hits', '0', ...because], 2, /whole number/],
    [['reinstate', '00000000-0000-5000-8000-000000000000', ...because], 3, /EXCLUSION_NOT_FOUND/],
  ];
  for (const [args, code, err] of bad) {
    const said = await run(args);
    t.is(said.code, code, `${args.join(' ')}: ${said.err}`);
    t.regex(said.err, err, args.join(' '));
    t.is(said.out, '');
  }
});
