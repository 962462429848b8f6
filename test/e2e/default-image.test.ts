import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeProject } from '../support/project.js';
import { refused } from '../support/refused.js';
import { complete, find, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer } from '../support/server.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());
const hash = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;

test('jobs that name no image get the default one, as if they had named it', async (t) => {
  const repositories = { project: project.repository.path };
  const server = await startTestServer({ repositories, settings: { default_docker_image: 'base:1' } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  await refused(t, server, () => find(ada), {
    code: 'FAILED_PRECONDITION',
    reason: 'UNKNOWN_DEFAULT_IMAGE',
    naming: '"base:1"',
  });
  await ada.images.registerImage({ hash: hash(1), repository: 'base', tag: '1' });
  const made = await find(ada);
  t.is(made.job?.dockerImageLocator, `base@${hash(1)}`);
  t.is(made.job?.runtimeConstraints, undefined, 'what the client asked for stays what it was');
  t.like(made.decision?.resolutions.at(-1), {
    field: 'default_docker_image',
    given: 'base:1',
    resolved: `base@${hash(1)}`,
  });
  await complete(server.as('bob'), uuidOf(made));
  const named = await find(ada, { runtimeConstraints: { dockerImage: 'base:1' } });
  t.is(uuidOf(named), uuidOf(made));
  await ada.images.registerImage({ hash: hash(2), repository: 'base', tag: '1' });
  t.false((await find(ada)).reused);
  // Whoever refines an image has to name it.
  await refused(t, server, () => find(ada, { runtimeConstraints: { arvadosSdkVersion: 'main' } }), {
    code: 'INVALID_ARGUMENT',
    reason: 'NEEDS_DOCKER_IMAGE',
    field: 'runtime_constraints.arvados_sdk_version',
  });
  await refused(
    t,
    server,
    () => find(ada, { runtimeConstraints: { dockerImage: 'base', arvadosSdkVersion: 'main' } }),
    {
      code: 'INVALID_ARGUMENT',
      reason: 'UNKNOWN_REPOSITORY',
      field: 'runtime_constraints.arvados_sdk_version',
      naming: '"arvados"',
    },
  );
});

test('under a policy, images are registered and forgotten by those who administer everything', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-policy-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const policy = join(directory, 'policy.toml');
  writeFileSync(
    policy,
    '[[grants]]\nto = ["root"]\nroles = ["admin"]\nrepositories = ["**"]\n' +
      '[[grants]]\nto = ["ada"]\nroles = ["submitter", "admin"]\nrepositories = ["project"]\n',
  );
  const repositories = { project: project.repository.path };
  const server = await startTestServer({ repositories, settings: { policy } });
  t.teardown(() => server.dispose());
  const [ada, root] = [server.as('ada'), server.as('root')];
  const image = { hash: hash(3), repository: 'base' };
  const denied = { code: 'PERMISSION_DENIED', reason: 'NOT_PERMITTED', naming: '"ada"' } as const;
  await refused(t, server, () => ada.images.registerImage(image), denied);
  const { consistencyToken } = await root.images.registerImage(image);
  const locator = `base@${hash(3)}`;
  await refused(t, server, () => ada.images.forgetImage({ locator }), denied);
  t.is((await ada.images.listImages({ consistencyToken })).images.length, 1);
  t.is((await ada.images.resolveImage({ dockerImage: 'base' })).image?.locator, locator);
  t.is((await find(ada, { runtimeConstraints: { dockerImage: 'base' } })).job?.dockerImageLocator, locator);
});
