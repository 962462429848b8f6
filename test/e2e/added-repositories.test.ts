import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RecordedEvent } from '../../gen/memoir/history/v1/history_service_pb.js';
import { newestFormat } from '../../src/domain/log-format.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { complete, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { type Clients, startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';
import '../support/native-client.js';

// Repositories that are added and removed while servers run.

const [one, other] = [makeProject(), makeProject(['more.sh'])];
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'memoir-added-')));
const policy = join(directory, 'policy.toml');
const team = join(directory, 'team');
mkdirSync(team);
writeFileSync(
  policy,
  `
[[grants]]
to = ["root"]
roles = ["admin"]
repositories = ["**"]

[[grants]]
to = ["tina"]
roles = ["admin"]
repositories = ["team/*"]
places = ["${team}", "https://git.example.org/team/"]

[[grants]]
to = ["adam"]
roles = ["admin"]
repositories = ["team/*"]

[[grants]]
to = ["rita"]
roles = ["reader"]
repositories = ["**"]
`,
);
const server = serverOfFile({
  repositories: { project: one.repository.path },
  settings: {
    policy,
    remotes: {
      allowed_hosts: ['git.example.org'],
      allow_http: false,
      allow_git: false,
      allow_private_addresses: false,
      refresh_after: 10,
      accept_stale: 0,
      deadline: 120,
      silence: 30,
      max_bytes: 1_000_000,
      max_mirror_bytes: 1024 * 1024 * 1024,
      keep_unreachable: 1_209_600,
    },
    credentials: { forge: { url: 'https://git.example.org/team/', username: 'memoir', password: 'secret' } },
  },
});
const [root, tina, adam, rita] = ['root', 'tina', 'adam', 'rita'].map(server.as) as [
  Clients,
  Clients,
  Clients,
  Clients,
];
test.after.always(() => {
  for (const { repository } of [one, other]) repository.dispose();
  rmSync(directory, { recursive: true });
});

const names = async (who: Clients) =>
  (await who.repositories.listRepositories({})).repositories.map(({ name }) => name);

/** A copy of a repository below the team's directory. */
function copy(name: string): string {
  const path = join(team, name);
  other.repository.git('clone', '--quiet', '--bare', '.', path);
  return path;
}

test('a repository is added, gives jobs, comes to mean another place, and is removed; its jobs can be read', async (t) => {
  const path = other.repository.path;
  const { repository } = await root.repositories.addRepository({ name: 'added/a', path });
  t.like(repository, { name: 'added/a', head: other.second, added: { path, epoch: 1, addedBy: 'root' } });
  const end = await server.end();
  await root.repositories.addRepository({ name: 'added/a', path: `${path}/` });
  t.is(await server.end(), end, 'the same again');
  t.deepEqual(await names(rita), ['added/a', 'project']);
  const uuid = uuidOf(await request(root, { repository: 'added/a', script: 'more.sh' }));
  await complete(root, uuid);

  const moved = { name: 'added/a', path: one.repository.path };
  const exists = { code: 'ALREADY_EXISTS', reason: 'REPOSITORY_EXISTS', naming: 'added/a' } as const;
  await refused(t, server, () => root.repositories.addRepository(moved), exists);
  await server.restart();
  t.is((await root.repositories.resolveRefspec({ repository: 'added/a', refspec: 'main' })).commit, other.second);
  const answer = await root.repositories.addRepository({ ...moved, replace: true });
  t.like(answer.repository, { head: one.second, added: { path: one.repository.path, epoch: 2 } });
  t.is((await root.repositories.resolveRefspec({ repository: 'added/a', refspec: 'main' })).commit, one.second);

  await root.repositories.removeRepository({ name: 'added/a' });
  await root.repositories.removeRepository({ name: 'added/a' });
  t.deepEqual(await names(root), ['project']);
  const unknown = {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_REPOSITORY',
    field: 'repository',
    naming: 'added/a',
  } as const;
  await refused(t, server, () => request(root, { repository: 'added/a' }), unknown);
  t.is((await failure(t, () => root.jobs.retryJob({ uuid }))).code, 9);
  t.is((await root.jobs.getJob({ uuid })).job?.repository, 'added/a');
  const { jobs } = await root.jobs.listJobs({});
  t.true(jobs.some((job) => job.uuid === uuid));
  t.is((await root.repositories.addRepository({ name: 'added/a', path })).repository?.added?.epoch, 3);
  await root.repositories.removeRepository({ name: 'added/a' });
});

const refusals: readonly (readonly [
  what: string,
  by: Clients,
  asked: () => Parameters<Clients['repositories']['addRepository']>[0],
  refusal: Parameters<typeof refused>[3],
])[] = [
  [
    'a name with ".."',
    root,
    () => ({ name: '../x', path: team }),
    { code: 'INVALID_ARGUMENT', reason: 'BAD_NAME', field: 'name' },
  ],
  ['no place', root, () => ({ name: 'x' }), { code: 'INVALID_ARGUMENT', reason: 'BAD_PLACE', field: 'path' }],
  [
    'a password',
    root,
    () => ({ name: 'x', url: 'https://a:b@git.example.org/x' }),
    { code: 'INVALID_ARGUMENT', reason: 'BAD_PLACE', field: 'url' },
  ],
  [
    'a credential that is not there',
    root,
    () => ({ name: 'x', url: 'https://git.example.org/team/x', credential: 'constructor' }),
    { code: 'INVALID_ARGUMENT', reason: 'UNKNOWN_CREDENTIAL', field: 'credential', naming: 'constructor' },
  ],
  [
    'a credential for another address',
    root,
    () => ({ name: 'x', url: 'https://git.example.org/team2/x', credential: 'forge' }),
    { code: 'INVALID_ARGUMENT', reason: 'UNKNOWN_CREDENTIAL', field: 'credential' },
  ],
  [
    'a host that is not allowed',
    root,
    () => ({ name: 'x', url: 'https://elsewhere.example.org/x' }),
    { code: 'FAILED_PRECONDITION', reason: 'REMOTE_NOT_ALLOWED', naming: 'elsewhere.example.org' },
  ],
  [
    'no repository',
    root,
    () => ({ name: 'x', path: team }),
    { code: 'FAILED_PRECONDITION', reason: 'NOT_A_REPOSITORY' },
  ],
  [
    'a name of the configuration',
    root,
    () => ({ name: 'project', path: other.repository.path }),
    { code: 'ALREADY_EXISTS', reason: 'REPOSITORY_CONFIGURED', naming: 'project' },
  ],
  ...[
    ['a reader', rita, () => ({ name: 'team/x', path: copy('of-rita') })],
    ['an admin without places', adam, () => ({ name: 'team/x', path: copy('of-adam') })],
    ['a path elsewhere', tina, () => ({ name: 'team/x', path: other.repository.path })],
    ['a name elsewhere', tina, () => ({ name: 'x', path: copy('elsewhere') })],
    ['an address elsewhere', tina, () => ({ name: 'team/x', url: 'https://git.example.org/teams/x' })],
    [
      'a link that leads out',
      tina,
      () => {
        symlinkSync(other.repository.path, join(team, 'link'));
        return { name: 'team/x', path: join(team, 'link') };
      },
    ],
    [
      'alternates that lead out',
      tina,
      () => {
        const path = copy('borrower');
        writeFileSync(join(path, 'objects/info/alternates'), `${other.repository.path}/.git/objects\n`);
        return { name: 'team/x', path };
      },
    ],
  ].map(
    ([what, by, asked]) =>
      [what, by, asked, { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED' }] as (typeof refusals)[number],
  ),
];
for (const [what, by, asked, refusal] of refusals) {
  test(`to add ${what} is refused, and nothing is recorded`, async (t) => {
    const given = asked();
    await refused(t, server, () => by.repositories.addRepository(given), refusal);
  });
}

test('an admin of a name adds and removes it within the places that the policy names; only who administers it is told where', async (t) => {
  const path = copy('own');
  await tina.repositories.addRepository({ name: 'team/own', path });
  await tina.repositories.addRepository({
    name: 'team/remote',
    url: 'https://git.example.org/team/x.git',
    credential: 'forge',
  });
  const added = async (who: Clients) =>
    (await who.repositories.listRepositories({})).repositories.find(({ name }) => name === 'team/own')?.added?.path;
  t.is(await added(tina), path);
  t.is(await added(rita), undefined);
  const told = async (who: Clients) => {
    const asked = { repositories: ['team/own'], eventTypes: ['RepositoryAdded', 'RepositoryRemoved'] };
    for await (const { content } of who.history.subscribeEvents({
      start: { case: 'beginning', value: {} },
      ...asked,
    })) {
      if (content.case !== 'event') continue;
      const { event } = content.value;
      return event.case === 'repositoryAdded' ? event.value : undefined;
    }
    return undefined;
  };
  t.like(await told(tina), { name: 'team/own', path });
  t.like(await told(rita), { name: 'team/own', path: '', url: '', addedBy: 'tina' });
  const history = async (who: Clients) => {
    const seen: RecordedEvent[] = [];
    for await (const { event } of who.history.readHistory({ repository: 'team/remote' })) if (event) seen.push(event);
    return seen.map(({ event }) => (event.case === 'repositoryAdded' ? event.value.credential : event.case));
  };
  t.deepEqual(await history(root), ['forge']);
  t.deepEqual(await history(rita), ['']);
  const denied = { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED' } as const;
  await refused(t, server, () => adam.repositories.removeRepository({ name: 'team/own' }), denied);
  await refused(t, server, () => rita.repositories.removeRepository({ name: 'team/own' }), denied);
  const none = { code: 'NOT_FOUND', reason: 'UNKNOWN_REPOSITORY', naming: 'team/none' } as const;
  await refused(t, server, () => tina.repositories.removeRepository({ name: 'team/none' }), none);
  const configured = { code: 'FAILED_PRECONDITION', reason: 'REPOSITORY_CONFIGURED' } as const;
  await refused(t, server, () => root.repositories.removeRepository({ name: 'project' }), configured);
  for (const name of ['team/own', 'team/remote']) await tina.repositories.removeRepository({ name });
});

test('several servers of one log follow what one of them adds and removes', async (t) => {
  const double = await startDouble();
  const start = () =>
    startTestServer({
      repositories: { project: one.repository.path },
      settings: { store: double.url, log_format: newestFormat },
    });
  const servers = [await start(), await start()] as const;
  t.teardown(async () => {
    for (const each of servers) await each.dispose();
    await double.stop();
  });
  const [ada, bob] = servers.map((each) => each.as('ada')) as [Clients, Clients];
  await ada.repositories.addRepository({ name: 'added', path: other.repository.path });
  await until('the other server has it', async () => (await names(bob)).includes('added'));
  const uuid = uuidOf(await request(bob, { repository: 'added', script: 'more.sh' }));
  // At the same moment, at both: one of them wins, and both have the same in the end.
  const settled = await Promise.allSettled([
    ada.repositories.addRepository({ name: 'twice', path: one.repository.path }),
    bob.repositories.addRepository({ name: 'twice', path: other.repository.path }),
  ]);
  t.is(settled.filter(({ status }) => status === 'fulfilled').length, 1);
  const heads = () =>
    Promise.all(
      [ada, bob].map(async (who) => {
        const { repositories } = await who.repositories.listRepositories({});
        return repositories.find(({ name }) => name === 'twice')?.head;
      }),
    );
  await until('both have it', async () => {
    const [here, there] = await heads();
    return here !== undefined && here === there;
  });
  await bob.repositories.removeRepository({ name: 'added' });
  await until('the first has it no more', async () => !(await names(ada)).includes('added'));
  t.is((await failure(t, () => request(ada, { repository: 'added' }))).reason, 'UNKNOWN_REPOSITORY');
  t.is((await ada.jobs.getJob({ uuid })).job?.repository, 'added');
});
