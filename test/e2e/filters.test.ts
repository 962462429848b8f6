import type { JsonValue } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { naiveMatch, type Triple } from '../domain/filters/naive.js';
import { makeRepository } from '../support/git-repository.js';
import { refused } from '../support/refused.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
import { serverOfFile } from '../support/server-of-file.js';

// base - left - merge - tip (main), with side between base and merge, and lost beside all of it.
const repository = makeRepository();
const base = repository.commit({ 'run.sh': '#!base', 'other.sh': '#!other' });
repository.git('checkout', '--quiet', '-b', 'side');
const side = repository.commit({ 'side.txt': 'side' });
repository.git('checkout', '--quiet', '-b', 'lost');
const lost = repository.commit({ 'lost.txt': 'lost' });
repository.git('checkout', '--quiet', 'main');
const left = repository.commit({ 'left.txt': 'left' });
repository.git('merge', '--quiet', '--no-ff', '--message=merge', 'side');
const merge = repository.git('rev-parse', 'HEAD');
const tip = repository.commit({ 'run.sh': '#!tip' });

const sdk = makeRepository();
const oldSdk = sdk.commit({ sdk: '1' });
const newSdk = sdk.commit({ sdk: '2' });

const repositories = { project: repository.path, copy: repository.path, arvados: sdk.path };
const server = serverOfFile({ repositories });
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  repository.dispose();
  sdk.dispose();
});

const filters = (...triples: Triple[]) => triples.map((triple) => filterFromTriple(triple));
const here: Triple[] = [
  ['repository', '=', 'project'],
  ['script', '=', 'run.sh'],
];

test.serial(
  'a filter that is wrong, or misses the ones that it needs, is refused and nothing is recorded',
  async (t) => {
    const cases: [triples: Triple[], reason: string, field: string, naming: string][] = [
      [[['script', '=', 'run.sh']], 'FILTER_NEEDS_ANOTHER', 'filters', 'one on repository'],
      [[['repository', '=', 'project']], 'FILTER_NEEDS_ANOTHER', 'filters', 'one on script'],
      [[...here, ['stat', '=', 'x']], 'BAD_FILTER_ATTRIBUTE', 'filters[2].attribute', 'filters[2]: attribute "stat"'],
      [[...here, ['state', '~', 'x']], 'BAD_FILTER_OPERATOR', 'filters[2].operator', 'filters[2]: operator "~"'],
      [[...here, ['state', '=', 'Done']], 'BAD_FILTER_OPERAND', 'filters[2].operand', 'filters[2]: operand "Done"'],
      [[...here, ['script_version', 'in git', 'nowhere']], 'UNRESOLVABLE_REFSPEC', 'filters[2]', '"nowhere"'],
      [[...here, ['script_version', 'not in git', ['main', 'gone']]], 'UNRESOLVABLE_REFSPEC', 'filters[2]', '"gone"'],
      [
        [...here, ['script_version', 'in git', 'main'], ['script', '=', 'x']],
        'FILTERS_CONFLICT',
        'filters[2]',
        '"run.sh" in filters[1] and "x" in filters[3]',
      ],
      [
        [
          ['repository', 'in', ['project']],
          ['script', '=', 'run.sh'],
          ['script_version', 'in git', 'main'],
        ],
        'FILTER_NEEDS_ANOTHER',
        'filters[2]',
        'repository =',
      ],
      [
        [
          ['repository', '=', 'nope'],
          ['script', '=', 's'],
          ['script_version', 'in git', 'main'],
        ],
        'UNKNOWN_REPOSITORY',
        'repository',
        '"nope"',
      ],
    ];
    for (const [triples, reason, field, naming] of cases) {
      const refusal = { code: 'INVALID_ARGUMENT', reason, field, naming } as const;
      await refused(t, server, () => find(ada, { filters: filters(...triples) }), refusal);
    }
    const together = { code: 'INVALID_ARGUMENT', reason: 'FILTERS_WITH_RANGE', field: 'filters' } as const;
    const both = { filters: filters(...here), minimumScriptVersion: base };
    await refused(t, server, () => find(ada, both), together);
    await refused(t, server, () => find(ada, { filters: filters(...here), excludeScriptVersions: [base] }), together);
    const list = {
      code: 'INVALID_ARGUMENT',
      reason: 'UNRESOLVABLE_REFSPEC',
      field: 'filters[2]',
      naming: '"gone"',
    } as const;
    await refused(
      t,
      server,
      () => ada.jobs.listJobs({ filters: filters(...here, ['script_version', 'in git', 'gone']) }),
      list,
    );
  },
);

test.serial('filters decide as a naive reading of the rules does', async (t) => {
  const scriptParameters = { shared: true };
  const jobs: string[] = [];
  const make = async (
    clients: typeof ada,
    more: Parameters<typeof request>[1],
    end?: (uuid: string) => Promise<unknown>,
  ) => {
    const uuid = uuidOf(await request(clients, { scriptParameters, ...more }));
    jobs.push(uuid);
    await end?.(uuid);
  };
  const done = (output?: string, log?: string) => (uuid: string) => complete(bob, uuid, output, log);
  await make(ada, { scriptVersion: base }, (uuid) => fail(bob, uuid));
  await make(ada, { scriptVersion: base, description: 'first' }, done());
  await make(bob, { scriptVersion: side, description: 'Second' }, done());
  await make(ada, { scriptVersion: left, repository: 'copy' }, done());
  await make(ada, { scriptVersion: left, script: 'other.sh', priority: 5 }, done('sha256:different'));
  await make(ada, { scriptVersion: lost }, done('sha256:lost'));
  await make(ada, { scriptVersion: merge, nondeterministic: true }, done());
  await make(ada, { scriptVersion: merge }, done('', 'sha256:log'));
  await make(ada, { scriptVersion: merge }, done('sha256:out', ''));
  await make(ada, { scriptVersion: merge, priority: 2 }, (uuid) => ada.jobs.cancelJob({ uuid }));
  await make(ada, { scriptVersion: merge }, async (uuid) => {
    await complete(bob, uuid);
    await ada.jobs.deleteJob({ uuid });
  });
  await make(bob, { scriptVersion: tip }, (uuid) => bob.worker.claimJob({ uuid }));
  await make(ada, { scriptVersion: tip, priority: 7 }, (uuid) => bob.worker.claimJob({ uuid }));
  await make(bob, { scriptVersion: tip });
  await make(ada, { scriptVersion: tip, repository: 'copy', description: 'last' });
  await make(ada, { scriptParameters: { shared: false }, scriptVersion: base }, done());
  const deleted = jobs.splice(10, 1);
  const consistencyToken = String(await server.end());
  const known = new Map<string, Job>();
  for (const uuid of jobs.slice(0, -1)) {
    const { job } = await ada.jobs.getJob({ uuid, consistencyToken });
    if (job) known.set(uuid, job);
  }

  // The repository stays as it is, so that git is asked each question once.
  const told = new Map<string, string>();
  const ask = (...args: string[]) => {
    const answer = told.get(args.join(' ')) ?? repository.git(...args);
    told.set(args.join(' '), answer);
    return answer;
  };
  const reachable = (from: string) => ask('rev-list', from).split('\n');
  const rangeFrom = (end: string, refspec: string) => {
    const before = new Set(reachable(refspec));
    return new Set([...reachable(end).filter((commit) => !before.has(commit)), ask('rev-parse', refspec)]);
  };
  const matches = (job: Job, triple: Triple, end: string): boolean => {
    const [, operator, operand] = triple;
    const names = [operand].flat() as string[];
    if (operator === 'in git') return names.some((name) => rangeFrom(end, name).has(job.scriptVersion));
    if (operator === 'not in git') return !names.some((name) => ask('rev-parse', name) === job.scriptVersion);
    return naiveMatch(job, triple);
  };
  const expected = (triples: readonly Triple[], end: string): string | undefined => {
    const left = [...known.values()].filter(
      (job) => triples.every((triple) => matches(job, triple, end)) && !job.nondeterministic,
    );
    const whole = left.filter(({ state, output, log }) => state === JobState.COMPLETE && output !== '' && log !== '');
    const agree = new Set(whole.map(({ output }) => output)).size === 1;
    const [answer] = [
      ...(agree ? whole : []),
      ...left.filter(({ state }) => state === JobState.RUNNING),
      ...left.filter(({ state }) => state === JobState.QUEUED),
    ];
    return answer?.uuid;
  };

  const one = <T>(...values: T[]) => fc.constantFrom(...values);
  const commit = one('main', 'side', 'main~1', base, left, 'lost');
  const where: fc.Arbitrary<Triple[]> = fc
    .tuple(one<JsonValue>('project', 'project', 'copy'), one<JsonValue>('run.sh', 'run.sh', 'other.sh'))
    .map(([name, script]) => [
      ['repository', '=', name],
      ['script', '=', script],
    ]);
  const anywhere: fc.Arbitrary<Triple[]> = one<Triple[][]>([
    [
      ['repository', 'in', ['project', 'copy']],
      ['script', '!=', 'x'],
    ],
    [
      ['repository', '!=', 'copy'],
      ['script', 'like', '%.sh'],
    ],
  ]).chain((several) => fc.constantFrom(...several));
  const plain: fc.Arbitrary<Triple> = fc.oneof(
    one<Triple>(['state', '=', 'Complete'], ['state', 'in', ['Running', 'Queued']], ['state', '!=', 'Complete']),
    one<Triple>(['description', 'ilike', '%S%'], ['description', '=', null], ['any', 'contains', 'lost']),
    one<Triple>(['priority', '>', 1], ['priority', 'not in', [7, 5]], ['output', '!=', 'sha256:different']),
    one<Triple>(['script_parameters.shared', '=', true], ['owner', '=', 'bob'], ['finished_at', 'exists', false]),
    commit.map((name): Triple => ['script_version', '=', ask('rev-parse', name)]),
  );
  const git: fc.Arbitrary<Triple> = fc.oneof(
    commit.map((name): Triple => ['script_version', 'in git', name]),
    fc.uniqueArray(commit, { maxLength: 3 }).map((names): Triple => ['script_version', 'in git', names]),
    fc.uniqueArray(commit, { maxLength: 3 }).map((names): Triple => ['script_version', 'not in git', names]),
  );
  const anyFilters = fc.oneof(
    fc.tuple(where, fc.array(fc.oneof(plain, git), { maxLength: 3 })).map(([a, b]) => [...a, ...b]),
    fc.tuple(anywhere, fc.array(plain, { maxLength: 2 })).map(([a, b]) => [...a, ...b]),
  );
  const answers = new Set<string | undefined>();
  await fc.assert(
    fc.asyncProperty(anyFilters, one('main', 'main~1', 'side'), async (triples, scriptVersion) => {
      const end = ask('rev-parse', scriptVersion);
      const wanted = { repository: 'project', script: 'run.sh', scriptVersion, scriptParameters };
      const { decision, job } = await ada.jobs.explainReuse({ request: { ...wanted, filters: filters(...triples) } });
      t.is(job?.uuid, expected(triples, end), JSON.stringify([triples, scriptVersion]));
      t.is(decision?.candidateCount, known.size + deleted.length);
      for (const { uuid, ruledOutBy, detail } of decision?.candidates ?? []) {
        const candidate = known.get(uuid);
        if (!candidate) continue;
        const index = triples.findIndex((triple) => !matches(candidate, triple, end));
        t.is(ruledOutBy === Rule.FILTER, index >= 0, detail);
        if (index >= 0) t.true(detail.startsWith(`filters[${index}]: ${triples[index]?.[0]} `), detail);
      }
      answers.add(job?.uuid);
    }),
    { numRuns: 150 },
  );
  t.true(answers.size >= 6, `${answers.size} different answers`);
});

test.serial('what refspecs resolved to and what values were compared is in the decision', async (t) => {
  const scriptParameters = { test: 'decision' };
  const made = await request(ada, { scriptVersion: side, scriptParameters });
  await complete(bob, uuidOf(made));
  const triples: Triple[] = [
    ...here,
    ['script_version', 'in git', 'main~2'],
    ['script_version', 'not in git', ['side', base]],
  ];
  const { decision } = await ada.jobs.explainReuse({
    request: {
      repository: 'project',
      script: 'run.sh',
      scriptVersion: 'main',
      scriptParameters,
      filters: filters(...triples),
    },
  });
  t.deepEqual(
    decision?.resolutions.map(({ field, given, resolved }) => [field, given, resolved]),
    [
      ['script_version', 'main', tip],
      ['filters[2]', 'main~2', `4 commits from ${left} to ${tip}`],
      ['filters[3]', 'side', side],
      ['filters[3]', base, base],
    ],
  );
  const [candidate] = decision?.candidates ?? [];
  t.is(candidate?.ruledOutBy, Rule.FILTER);
  t.is(candidate?.detail, `filters[3]: script_version not in git ["side", "${base}"]: its value is "${side}"`);
  t.is(decision?.summary, 'a new job, since the one candidate of the same parameters was ruled out: 1 by filter');
});

test.serial('identical requests with filters at once make one job, also by a range of commits', async (t) => {
  const triples: Triple[] = [...here, ['script_version', 'in git', base]];
  for (let round = 0; round < 5; round++) {
    const wanted = { scriptParameters: { test: 'at once', round }, filters: filters(...triples) };
    const answers = await Promise.all(Array.from({ length: 20 }, () => find(ada, wanted)));
    t.is(new Set(answers.map(uuidOf)).size, 1);
    t.is(answers.filter(({ reused }) => !reused).length, 1);
  }
});

test.serial('the SDK is filtered by commits of the repository arvados, the image by names of images', async (t) => {
  const hash = (digit: string) => `sha256:${digit.repeat(64)}`;
  const images = [];
  for (const [digit, tag] of [
    ['a', '1'],
    ['b', '2'],
  ] as const) {
    const { image } = await ada.images.registerImage({ hash: hash(digit), repository: 'tools/align', tag });
    images.push(image?.locator ?? '');
  }
  const { image: unrelated } = await ada.images.registerImage({ hash: hash('c'), repository: 'tools/sort', tag: '1' });
  const jobs: string[] = [];
  const constraints = [
    { dockerImage: 'tools/align', dockerImageTag: '1', arvadosSdkVersion: oldSdk },
    { dockerImage: 'tools/align', dockerImageTag: '2', arvadosSdkVersion: newSdk },
    { dockerImage: 'tools/sort' },
    {},
  ];
  for (const [i, runtimeConstraints] of constraints.entries()) {
    const more = { scriptParameters: { test: 'image', i }, runtimeConstraints };
    jobs.push(uuidOf(await request(ada, more)));
  }
  const consistencyToken = String(await server.end());
  const cases: [triple: Triple, which: number[]][] = [
    [
      ['docker_image_locator', 'in docker', 'tools/align'],
      [0, 1],
    ],
    [['docker_image_locator', 'in docker', 'tools/align:1'], [0]],
    [
      ['docker_image_locator', 'in docker', ['tools/align:1', 'tools/sort']],
      [0, 2],
    ],
    [['docker_image_locator', 'in docker', hash('b')], [1]],
    [['docker_image_locator', 'in docker', 'tools/unknown'], []],
    [['docker_image_locator', 'in docker', []], []],
    [
      ['docker_image_locator', 'not in docker', 'tools/align'],
      [2, 3],
    ],
    [['docker_image_locator', 'not in docker', ['tools/align', 'tools/sort']], [3]],
    [['docker_image_locator', 'in docker', hash('b').slice(0, 19)], [1]],
    [['docker_image_locator', 'in docker', 'B'.repeat(12)], [1]],
    [['docker_image_locator', 'in docker', 'b'.repeat(11)], []],
    [
      ['docker_image_locator', 'not in docker', 'b'.repeat(12)],
      [0, 2, 3],
    ],
    [['docker_image_locator', '=', unrelated?.locator ?? ''], [2]],
    [['docker_image_locator', '=', null], [3]],
    [
      ['runtime_constraints.docker_image', 'like', 'tools/%'],
      [0, 1, 2],
    ],
    [['runtime_constraints.docker_image_tag', '=', '1'], [0]],
    [
      ['runtime_constraints', 'exists', 'arvados_sdk_version'],
      [0, 1],
    ],
    [['arvados_sdk_version', 'in git', 'HEAD'], [1]],
    [
      ['arvados_sdk_version', 'in git', 'HEAD~1'],
      [0, 1],
    ],
    [
      ['arvados_sdk_version', 'not in git', newSdk],
      [0, 2, 3],
    ],
    [
      ['arvados_sdk_version', 'not in git', [newSdk, 'HEAD~1']],
      [2, 3],
    ],
    [
      ['arvados_sdk_version', '!=', newSdk],
      [0, 2, 3],
    ],
  ];
  for (const [triple, which] of cases) {
    const { jobs: found } = await ada.jobs.listJobs({
      filters: filters(['script_parameters.test', '=', 'image'], triple),
      orderBy: 'created_at',
      consistencyToken,
    });
    t.deepEqual(
      found.map(({ uuid }) => jobs.indexOf(uuid)),
      which,
      JSON.stringify(triple),
    );
  }
  t.is(images.length, 2);
});

test.serial('ranges of commits in lists end at the HEAD of the repository', async (t) => {
  const jobs: [string, string][] = [];
  for (const scriptVersion of [base, side, left, merge, tip, lost]) {
    const { job } = await request(ada, { scriptVersion, scriptParameters: { test: 'HEAD' } });
    jobs.push([job?.uuid ?? '', scriptVersion]);
  }
  const consistencyToken = String(await server.end());
  const commitsOf = async (...triples: Triple[]) => {
    const all: Triple[] = [...here, ['script_parameters.test', '=', 'HEAD'], ...triples];
    const page = await ada.jobs.listJobs({
      filters: filters(...all),
      orderBy: 'created_at',
      consistencyToken,
      countTotal: true,
    });
    t.is(page.totalSize, BigInt(page.jobs.length));
    return page.jobs.map(({ scriptVersion }) => scriptVersion);
  };
  t.deepEqual(await commitsOf(['script_version', 'in git', base]), [base, side, left, merge, tip]);
  t.deepEqual(await commitsOf(['script_version', 'in git', left]), [side, left, merge, tip]);
  t.deepEqual(await commitsOf(['script_version', 'in git', ['lost', merge]]), [left, merge, tip, lost]);
  t.deepEqual(await commitsOf(['script_version', 'not in git', ['main', base]]), [side, left, merge, lost]);
  t.deepEqual(await commitsOf(['script_version', 'in git', base], ['script_version', 'not in git', 'side']), [
    base,
    left,
    merge,
    tip,
  ]);
  t.is(jobs.length, 6);
});
