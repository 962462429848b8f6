import { fromJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { loseReadModel } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
// The SDK is taken from the same commits under the name that it is looked for.
const sdk = makeProject();
const server = serverOfFile({
  repositories: { project: project.repository.path, arvados: sdk.repository.path },
});
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  project.repository.dispose();
  sdk.repository.dispose();
});

const digits = (n: number) => n.toString(16).padStart(64, '0');
const hash = (n: number) => `sha256:${digits(n)}`;

function decided({ decision }: Pick<CreateJobResponse, 'decision'>) {
  return {
    outcome: Outcome[decision?.outcome ?? -1],
    candidates: decision?.candidates.map(({ uuid, ruledOutBy }) => [uuid, Rule[ruledOutBy]]),
  };
}

test.serial('a newer image under the tag of a job makes a new job, and the decision says why', async (t) => {
  const constraints = { runtimeConstraints: { dockerImage: 'arvados/jobs', dockerImageTag: 'latest' } };
  const first = await ada.images.registerImage({ hash: digits(1), repository: 'arvados/jobs', tag: 'latest' });
  t.is(first.image?.locator, `arvados/jobs@${hash(1)}`);
  const made = await find(ada, constraints);
  t.is(made.job?.dockerImageLocator, `arvados/jobs@${hash(1)}`);
  t.is(made.job?.runtimeConstraints?.dockerImage, 'arvados/jobs');
  t.like(
    made.decision?.resolutions.find(({ field }) => field === 'runtime_constraints.docker_image'),
    {
      given: 'arvados/jobs with tag latest',
      resolved: `arvados/jobs@${hash(1)}`,
    },
  );
  await complete(bob, uuidOf(made));
  for (const dockerImage of ['arvados/jobs', 'arvados/jobs:latest', digits(1), hash(1), `arvados/jobs@${hash(1)}`]) {
    const again = await find(ada, { runtimeConstraints: { dockerImage } });
    t.is(uuidOf(again), uuidOf(made), dockerImage);
    t.true(again.reused);
  }

  await ada.images.registerImage({ hash: hash(2), repository: 'arvados/jobs', tag: 'latest' });
  const newer = await find(ada, constraints);
  t.false(newer.reused);
  t.is(newer.job?.dockerImageLocator, `arvados/jobs@${hash(2)}`);
  t.deepEqual(decided(newer), {
    outcome: 'CREATED_NO_MATCH',
    candidates: [[uuidOf(made), 'DOCKER_IMAGE_LOCATOR']],
  });
  t.is(uuidOf(await find(ada, { runtimeConstraints: { dockerImage: hash(1) } })), uuidOf(made));

  const without = await find(ada);
  t.false(without.reused, 'a job without an image is another');
  t.is(without.job?.dockerImageLocator, '');

  await ada.images.forgetImage({ locator: `arvados/jobs@${hash(2)}`, reason: 'built from the wrong branch' });
  t.is(uuidOf(await find(ada, constraints)), uuidOf(made), 'the older one is the newest again');
  await refused(t, server, () => find(ada, { runtimeConstraints: { dockerImage: hash(2) } }), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_IMAGE',
    field: 'runtime_constraints.docker_image',
    naming: hash(2),
  });
});

test.serial('jobs are listed by any image that a name ever meant', async (t) => {
  const list = async (operator: string, ...names: string[]) => {
    const operand = names.length === 1 ? (names[0] as string) : names;
    const filters = [{ attribute: 'docker_image_locator', operator, operand: fromJson(ValueSchema, operand) }];
    const { jobs } = await ada.jobs.listJobs({ filters });
    return [...new Set(jobs.map(({ dockerImageLocator }) => dockerImageLocator))].sort();
  };
  const [one, two] = [1, 2].map((n) => `arvados/jobs@${hash(n)}`);
  t.deepEqual(await list('in docker', 'arvados/jobs:latest'), [one, two], 'the forgotten one too');
  t.deepEqual(await list('in docker', hash(2)), [two]);
  t.deepEqual(await list('in docker', 'nobody', hash(1)), [one]);
  t.deepEqual(await list('in docker', 'nobody'), []);
  t.deepEqual(await list('not in docker', 'arvados/jobs'), ['']);
});

test.serial('the SDK of a job is resolved in the repository arvados, kept, and part of reuse', async (t) => {
  await ada.images.registerImage({ hash: hash(10), repository: 'sdk', tag: '1' });
  const own = { scriptParameters: { test: 'sdk' } };
  const asks = (arvadosSdkVersion: string) => ({
    ...own,
    runtimeConstraints: { dockerImage: 'sdk:1', arvadosSdkVersion },
  });
  const made = await find(ada, asks('main'));
  t.is(made.job?.arvadosSdkVersion, sdk.second);
  t.is(made.job?.runtimeConstraints?.arvadosSdkVersion, 'main');
  await complete(bob, uuidOf(made));
  t.is(uuidOf(await find(ada, asks(sdk.second.slice(0, 10)))), uuidOf(made));
  const any = await find(ada, { ...own, runtimeConstraints: { dockerImage: 'sdk:1' } });
  t.is(uuidOf(any), uuidOf(made), 'a request without an SDK accepts any');
  const older = await find(ada, asks('v1'));
  t.is(older.job?.arvadosSdkVersion, sdk.first);
  t.deepEqual(decided(older).candidates, [[uuidOf(made), 'ARVADOS_SDK_VERSION']]);
  const refusal = { code: 'INVALID_ARGUMENT', field: 'runtime_constraints.arvados_sdk_version' } as const;
  await refused(t, server, () => find(ada, asks('no-such-branch')), {
    ...refusal,
    reason: 'UNRESOLVABLE_REFSPEC',
    naming: '"no-such-branch"',
  });
  await refused(t, server, () => find(ada, { ...own, runtimeConstraints: { arvadosSdkVersion: 'main' } }), {
    ...refusal,
    reason: 'NEEDS_DOCKER_IMAGE',
    naming: '"main"',
  });
});

test.serial('a registration again changes nothing; a locator means one image', async (t) => {
  const image = { hash: hash(20), repository: 'once', tag: 'a', locator: 'keep:20+1' };
  const first = await ada.images.registerImage(image);
  const before = await server.end();
  const again = await bob.images.registerImage({ ...image, hash: digits(20).toUpperCase() });
  t.deepEqual(again.image, first.image);
  t.is(await server.end(), before);
  const taken = { code: 'ALREADY_EXISTS', reason: 'LOCATOR_TAKEN', naming: '"keep:20+1"' } as const;
  await refused(t, server, () => ada.images.registerImage({ ...image, hash: hash(21) }), taken);
  await refused(t, server, () => ada.images.registerImage({ ...image, repository: 'twice' }), taken);

  const second = await ada.images.registerImage({ ...image, tag: 'b' });
  const { images } = await ada.images.listImages({ repository: 'once', consistencyToken: second.consistencyToken });
  t.deepEqual(
    images.map((one) => one.image?.tag),
    ['b', 'a'],
  );
  const { consistencyToken } = await ada.images.forgetImage({ locator: 'keep:20+1' });
  const { images: left } = await ada.images.listImages({ repository: 'once', consistencyToken });
  t.deepEqual(left, []);
  const { images: all } = await ada.images.listImages({ repository: 'once', includeForgotten: true, consistencyToken });
  t.deepEqual(
    all.map((one) => [one.image?.tag, one.forgottenAt !== undefined]),
    [
      ['b', true],
      ['a', true],
    ],
  );
  const end = await server.end();
  await ada.images.forgetImage({ locator: 'keep:20+1' });
  t.is(await server.end(), end, 'what is forgotten stays so');
  await refused(t, server, () => ada.images.registerImage({ ...image, hash: hash(21) }), taken);
  await ada.images.registerImage(image);
  t.is(
    (await ada.images.resolveImage({ dockerImage: 'once' })).image?.tag,
    'a',
    'what was registered here is seen at once',
  );
  const gone = await failure(t, () => ada.images.resolveImage({ dockerImage: 'once:b' }));
  t.is(gone.reason, 'UNKNOWN_IMAGE', 'it is back under the tag that it was registered with, and no other');
});

test.serial('two hundred registrations of one image at once are one event', async (t) => {
  const before = await server.end();
  const image = { hash: hash(30), repository: 'busy', tag: 'x' };
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) => (i % 2 ? ada : bob).images.registerImage(image)),
  );
  t.is(new Set(answers.map((answer) => JSON.stringify(answer.image?.registeredAt?.nanos))).size, 1);
  t.is(await server.end(), before + 1);
});

test.serial('pages give every image once, newest first, while images arrive', async (t) => {
  let consistencyToken = '';
  for (let i = 0; i < 25; i++) {
    const image = { hash: hash(100 + i), repository: 'paged', tag: `t${i}` };
    ({ consistencyToken } = await ada.images.registerImage(image));
  }
  const seen: (string | undefined)[] = [];
  let pageToken = '';
  do {
    const page = await ada.images.listImages({ repository: 'paged', pageSize: 10, pageToken, consistencyToken });
    seen.push(...page.images.map(({ image }) => image?.tag));
    ({ nextPageToken: pageToken } = page);
    const arriving = { hash: hash(200 + seen.length), repository: 'paged' };
    ({ consistencyToken } = await ada.images.registerImage(arriving));
  } while (pageToken !== '');
  t.deepEqual(
    seen,
    Array.from({ length: 25 }, (_, i) => `t${24 - i}`),
  );
});

test.serial('the log keeps who registered and who forgot', async (t) => {
  const carol = server.as('carol');
  await carol.images.registerImage({ hash: hash(40), repository: 'kept' });
  const made = await request(carol, { runtimeConstraints: { dockerImage: 'kept' } });
  const events = await collect(carol.history.readHistory({ uuid: uuidOf(made) }));
  const [first] = events.map(({ event }) => event?.event);
  t.is(first?.case === 'jobRequested' ? first.value.dockerImageLocator : '', `kept@${hash(40)}`);
});

const image = { hash: hash(50), repository: 'team/app', tag: 'v1' };
for (const [what, request, reason, field, naming] of [
  ['no hash', { hash: '' }, 'REQUIRED', 'hash', 'hash'],
  ['a short hash', { hash: 'sha256:abc' }, 'BAD_HASH', 'hash', '"sha256:abc"'],
  ['another algorithm', { hash: `sha512:${digits(1)}` }, 'BAD_HASH', 'hash', '"sha512:'],
  ['no repository', { repository: '' }, 'REQUIRED', 'repository', 'repository'],
  ['capitals', { repository: 'Team/App' }, 'BAD_IMAGE_REPOSITORY', 'repository', '"Team/App"'],
  ['a path upwards', { repository: '../etc' }, 'BAD_IMAGE_REPOSITORY', 'repository', '"../etc"'],
  ['an option', { repository: '--privileged' }, 'BAD_IMAGE_REPOSITORY', 'repository', '"--privileged"'],
  ['a hash as a name', { repository: digits(5) }, 'BAD_IMAGE_REPOSITORY', 'repository', digits(5)],
  ['a tag in the name', { repository: 'team/app:v1' }, 'BAD_IMAGE_REPOSITORY', 'repository', '"team/app:v1"'],
  ['a line end', { repository: 'team\n' }, 'BAD_IMAGE_REPOSITORY', 'repository', '"team\\n"'],
  ['a long name', { repository: 'a'.repeat(256) }, 'BAD_IMAGE_REPOSITORY', 'repository', '(256 characters)'],
  ['a tag with a space', { tag: 'v 1' }, 'BAD_TAG', 'tag', '"v 1"'],
  ['a tag that begins like an option', { tag: '-v' }, 'BAD_TAG', 'tag', '"-v"'],
  ['a long tag', { tag: 'a'.repeat(129) }, 'BAD_TAG', 'tag', 'aaa'],
  ['a locator of another alphabet', { locator: 'дocker' }, 'BAD_LOCATOR', 'locator', '"дocker"'],
  ['a locator with a terminal escape', { locator: 'a\u001b[2J' }, 'BAD_LOCATOR', 'locator', '\\u001b[2J'],
  ['a locator that is an option', { locator: '--rm' }, 'BAD_LOCATOR', 'locator', '"--rm"'],
  ['a long locator', { locator: 'a+'.repeat(600) }, 'BAD_LOCATOR', 'locator', '(1200 characters)'],
  ['a locator that names other images', { locator: 'debian:12' }, 'AMBIGUOUS_LOCATOR', 'locator', '"debian:12"'],
  ['the hash of another image as locator', { locator: hash(51) }, 'AMBIGUOUS_LOCATOR', 'locator', hash(51)],
] as const) {
  test.serial(`not registered: ${what}`, async (t) => {
    await refused(t, server, () => ada.images.registerImage({ ...image, ...request }), {
      code: 'INVALID_ARGUMENT',
      reason,
      field,
      naming,
    });
  });
}

test.serial('what cannot be listed, forgotten or resolved is refused', async (t) => {
  const { images } = ada;
  const bad = { code: 'INVALID_ARGUMENT' } as const;
  const cases = [
    [() => images.listImages({ repository: 'A' }), { ...bad, reason: 'BAD_IMAGE_REPOSITORY', field: 'repository' }],
    [() => images.listImages({ pageSize: 1_001 }), { ...bad, reason: 'OUT_OF_RANGE', field: 'page_size' }],
    [() => images.listImages({ pageToken: 'x' }), { ...bad, reason: 'BAD_TOKEN', field: 'page_token' }],
    [
      () => images.listImages({ consistencyToken: '99999999' }),
      { ...bad, reason: 'BAD_TOKEN', field: 'consistency_token' },
    ],
    [() => images.forgetImage({}), { ...bad, reason: 'REQUIRED', field: 'locator' }],
    [() => images.forgetImage({ locator: 'nobody' }), { code: 'NOT_FOUND', reason: 'IMAGE_NOT_FOUND' }],
    [
      () => images.forgetImage({ locator: 'x', reason: 'y'.repeat(4_097) }),
      { ...bad, reason: 'TOO_LONG', field: 'reason' },
    ],
    [() => images.resolveImage({}), { ...bad, reason: 'REQUIRED', field: 'docker_image' }],
    [() => images.resolveImage({ dockerImage: '-v' }), { ...bad, reason: 'BAD_IMAGE', field: 'docker_image' }],
    [() => images.resolveImage({ dockerImage: 'nobody' }), { code: 'NOT_FOUND', reason: 'UNKNOWN_IMAGE' }],
    [
      () => images.resolveImage({ dockerImage: 'a:b', dockerImageTag: 'c' }),
      { ...bad, reason: 'CONFLICTING_TAGS', field: 'docker_image_tag' },
    ],
    [
      () => find(ada, { runtimeConstraints: { dockerImage: 'a:b', dockerImageTag: 'c' } }),
      { ...bad, reason: 'CONFLICTING_TAGS', field: 'runtime_constraints.docker_image_tag' },
    ],
    [
      () => find(ada, { runtimeConstraints: { dockerImage: 'a', dockerImageTag: '../x' } }),
      { ...bad, reason: 'BAD_TAG', field: 'runtime_constraints.docker_image_tag' },
    ],
    [
      () => find(ada, { runtimeConstraints: { dockerImage: '$(id)' } }),
      { ...bad, reason: 'UNKNOWN_IMAGE', field: 'runtime_constraints.docker_image' },
    ],
  ] as const;
  for (const [call, refusal] of cases) await refused(t, server, call, refusal);
});

test.serial(
  'a repository alone means its latest, where there is one; an unknown image keeps nothing out, and is refused',
  async (t) => {
    const locatorOf = async (dockerImage: string) =>
      (await request(ada, { runtimeConstraints: { dockerImage } })).job?.dockerImageLocator;
    await ada.images.registerImage({ hash: hash(20), repository: 'tools/tagged', tag: 'latest' });
    await ada.images.registerImage({ hash: hash(21), repository: 'tools/tagged', tag: '2.0-rc1' });
    t.is(await locatorOf('tools/tagged'), `tools/tagged@${hash(20)}`);
    t.is(await locatorOf('tools/tagged:2.0-rc1'), `tools/tagged@${hash(21)}`);
    await ada.images.forgetImage({ locator: `tools/tagged@${hash(20)}`, reason: 'gone' });
    t.is(await locatorOf('tools/tagged'), `tools/tagged@${hash(21)}`);
    for (const unknown of ['tools/tagged:3', 'nobody', 'f'.repeat(12)]) {
      const filters = [
        {
          attribute: 'docker_image_locator',
          operator: 'not in docker',
          operand: fromJson(ValueSchema, ['tools/tagged', unknown]),
        },
      ];
      await refused(t, server, () => ada.jobs.listJobs({ filters }), {
        code: 'INVALID_ARGUMENT',
        reason: 'UNKNOWN_IMAGE',
        field: 'filters[0]',
        naming: unknown,
      });
    }
  },
);

test.serial('a lost read model is made again from the log, old jobs and images included', async (t) => {
  const list = async () =>
    (await server.as('ada').images.listImages({ includeForgotten: true, pageSize: 1_000 })).images;
  const before = await list();
  t.true(before.length > 30);
  await server.stop();
  loseReadModel(server.config);
  await server.restart();
  t.deepEqual(await list(), before);
});
