import anyTest, { type ExecutionContext } from 'ava';
import { registryConfig } from '../../../src/config/registries.js';
import { systemEdge } from '../../../src/edge.js';
import { openRegistries } from '../../../src/images/registry/registries.js';
import { collect } from '../../contract/events.js';
import {
  account,
  type DockerRegistry,
  hasDockerRegistry,
  type RegistryAuth,
  startDockerRegistry,
} from '../../support/docker-registry.js';
import { makeProject } from '../../support/project.js';
import { failure, refused } from '../../support/refused.js';
import { wanting } from '../../support/required.js';
import { complete, find, uuidOf } from '../../support/runs.js';
import { startTestServer } from '../../support/server.js';

const test = hasDockerRegistry ? anyTest : anyTest.skip;
if (!hasDockerRegistry) {
  anyTest('docker-registry is not installed: the tests against it are skipped', (t) => {
    wanting(t, 'docker-registry', 'it is not on the path: apt-get install docker-registry openssl');
  });
}

async function start(t: ExecutionContext, auth: RegistryAuth): Promise<DockerRegistry> {
  const registry = await startDockerRegistry(auth);
  t.teardown(() => registry.dispose());
  return registry;
}

function ask(registry: DockerRegistry, settings: object, reference: string) {
  const config = { team: registryConfig.parse({ url: registry.url, ...settings }) };
  return openRegistries(config, systemEdge).of('team/app')?.ask('team/app', reference);
}

test('a tag names what was pushed last, and a digest is checked', async (t) => {
  const registry = await start(t, 'nobody');
  const first = await registry.push('team/app', 'v1', 'first');
  const team = { team: registryConfig.parse({ url: registry.url }) };
  const asked = openRegistries(team, systemEdge).of('team/app');
  t.deepEqual(await asked?.ask('team/app', 'v1'), { hash: first, locator: `${registry.host}/team/app@${first}` });
  const second = await registry.push('team/app', 'v1', 'second');
  t.is((await asked?.ask('team/app', 'v1'))?.hash, second, 'the next question sees it');
  await registry.push('team/app', 'v1', 'first');
  t.is((await asked?.ask('team/app', 'v1'))?.hash, first);
  t.is((await asked?.ask('team/app', second))?.hash, second);
  t.is(await asked?.ask('team/app', 'v2'), undefined);
  t.is(await asked?.ask('team/other', 'v1'), undefined);
  t.is(await asked?.ask('team/app', `sha256:${'0'.repeat(64)}`), undefined);
});

test('a registry with a password is asked with it', async (t) => {
  const registry = await start(t, 'password');
  const digest = await registry.push('team/app', 'v1', 'first');
  t.is((await ask(registry, account, 'v1'))?.hash, digest);
  const none = await t.throwsAsync(ask(registry, {}, 'v1') as Promise<unknown>, { name: 'RegistryProblem' });
  t.regex(none?.message ?? '', /no password is configured/);
  const wrong = await t.throwsAsync(ask(registry, { ...account, password: 'wr0ng' }, 'v1') as Promise<unknown>);
  t.is(wrong?.message, 'it denies access');
});

test('a registry that wants a token gets one from the server that it names, if that is configured', async (t) => {
  const registry = await start(t, 'token');
  const digest = await registry.push('team/app', 'v1', 'first');
  const refusal = await t.throwsAsync(ask(registry, account, 'v1') as Promise<unknown>, { name: 'RegistryProblem' });
  const host = /"(127\.0\.0\.1:\d+)", which is not among its hosts/.exec(refusal?.message ?? '')?.[1];
  t.truthy(host, refusal?.message);
  t.is((await ask(registry, { ...account, hosts: [host] }, 'v1'))?.hash, digest);
  t.is((await ask(registry, { ...account, hosts: [host] }, digest))?.hash, digest);
  t.is(await ask(registry, { ...account, hosts: [host] }, 'v2'), undefined);
  const wrong = { ...account, password: 'wr0ng', hosts: [host] };
  const denied = await t.throwsAsync(ask(registry, wrong, 'v1') as Promise<unknown>);
  t.is(denied?.message, 'no token is given: status 401');
});

test('jobs get what their tag names at the registry, the log keeps it, and what is forgotten is not used', async (t) => {
  const registry = await start(t, 'nobody');
  const project = makeProject();
  t.teardown(() => project.repository.dispose());
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: {
      registries: { team: registryConfig.parse({ url: registry.url, timeout: 10 }) },
      log_level: 'silent',
    },
  });
  t.teardown(() => server.dispose());
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const asks = { runtimeConstraints: { dockerImage: 'team/app:v1' } };
  const locator = (digest: string) => `${registry.host}/team/app@${digest}`;

  await refused(t, server, () => find(ada, asks), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_IMAGE',
    field: 'runtime_constraints.docker_image',
  });
  const first = await registry.push('team/app', 'v1', 'first');
  const before = await server.end();
  const explained = await ada.jobs.explainReuse({
    request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', ...asks },
  });
  t.is(explained.decision?.resolutions.at(-1)?.resolved, locator(first));
  const resolved = await ada.images.resolveImage({ dockerImage: 'team/app', dockerImageTag: 'v1' });
  t.like(resolved.image, { locator: locator(first), hash: first, repository: 'team/app', tag: 'v1' });
  t.is(await server.end(), before, 'what only looks records nothing');

  const made = await find(ada, asks);
  t.is(made.job?.dockerImageLocator, locator(first));
  t.is(await server.end(), before + 2, 'the image and the job');
  await complete(bob, uuidOf(made));
  t.is(uuidOf(await find(ada, asks)), uuidOf(made));
  const second = await registry.push('team/app', 'v1', 'second');
  const newer = await find(ada, asks);
  t.is(newer.job?.dockerImageLocator, locator(second));
  await complete(bob, uuidOf(newer));
  await registry.push('team/app', 'v1', 'first');
  t.is(uuidOf(await find(ada, asks)), uuidOf(made), 'the tag has moved back');

  const pinned = await registry.push('team/app', 'v9', 'third');
  const byDigest = await find(ada, { runtimeConstraints: { dockerImage: `team/app@${pinned}` } });
  t.is(byDigest.job?.dockerImageLocator, locator(pinned));

  const hundred = await Promise.all(Array.from({ length: 100 }, () => find(ada, asks)));
  t.deepEqual([...new Set(hundred.map(uuidOf))], [uuidOf(made)]);

  await registry.stop();
  t.is(uuidOf(await find(ada, asks)), uuidOf(made), 'the newest registered image counts while the registry is away');
  const unknown = await failure(t, () => find(ada, { runtimeConstraints: { dockerImage: 'team/app:v8' } }));
  t.is(unknown.reason, 'REGISTRY_UNAVAILABLE', 'nobody can say now that there is no such image');
  await registry.start();

  const { consistencyToken } = await ada.images.forgetImage({ locator: locator(pinned), reason: 'it is broken' });
  await refused(t, server, () => find(ada, { runtimeConstraints: { dockerImage: 'team/app:v9' } }), {
    code: 'FAILED_PRECONDITION',
    reason: 'IMAGE_FORGOTTEN',
    naming: locator(pinned),
  });
  const { images } = await ada.images.listImages({ repository: 'team/app', includeForgotten: true, consistencyToken });
  t.deepEqual(
    images.map(({ image }) => [image?.hash, image?.tag]),
    [
      [pinned, ''],
      [first, 'v1'],
      [second, 'v1'],
    ],
  );
  const [requested] = await collect(ada.history.readHistory({ uuid: uuidOf(made) }));
  t.is(requested?.event?.metadata?.principal, 'ada');
});

test('a registry that is needed is waited for no longer than configured, and jobs are refused without it', async (t) => {
  const registry = await start(t, 'nobody');
  const project = makeProject();
  t.teardown(() => project.repository.dispose());
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { registries: { '*': registryConfig.parse({ url: registry.url, needed: true }) } },
  });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  await registry.push('team/app', 'v1', 'first');
  const asks = { runtimeConstraints: { dockerImage: 'registry.example:5000/team/app:v1' } };
  const made = await find(ada, asks);
  t.is(
    made.job?.dockerImageLocator,
    (await ada.images.resolveImage({ dockerImage: 'registry.example:5000/team/app' })).image?.locator,
  );
  await registry.stop();
  await refused(t, server, () => find(ada, asks), {
    code: 'UNAVAILABLE',
    reason: 'REGISTRY_UNAVAILABLE',
    naming: 'ECONNREFUSED',
  });
});
