import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { parse, parseAllDocuments } from 'yaml';
import { healthCommand } from '../../src/cli/server/health.js';
import { serverSettings } from '../../src/config/settings.js';
import { parseContentUrl } from '../../src/domain/outputs/content-url.js';
import { checkPolicy } from '../../src/policy/check-policy.js';
import { wanting } from '../support/required.js';
import { imageEnvironment } from './image-environment.js';
import { deployFolder } from './unit-file.js';

// The manifests for Kubernetes: of the forms that Kubernetes has, and with settings that Memoir has.

const folder = join(deployFolder, 'kubernetes');
const page = readFileSync(fileURLToPath(new URL('../../../docs/deploy.md', import.meta.url)), 'utf8');
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

type Probe = {
  readonly exec: { readonly command: readonly string[] };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
};
type Kustomization = {
  readonly resources: readonly string[];
  readonly configMapGenerator: readonly { readonly name: string; readonly files: readonly string[] }[];
};
type Named = { readonly name: string };
type Container = {
  readonly env: readonly (Named & { value?: string; valueFrom?: { secretKeyRef: Named & { key: string } } })[];
  readonly volumeMounts: readonly (Named & { mountPath: string })[];
  readonly ports: readonly (Named & { containerPort: number })[];
} & Readonly<Record<'startupProbe' | 'livenessProbe' | 'readinessProbe', Probe>>;
type Volume = Named & { readonly configMap?: Named; readonly secret?: { readonly secretName: string } };
type StatefulSet = {
  readonly spec: {
    readonly serviceName: string;
    readonly volumeClaimTemplates: readonly { readonly metadata: Named }[];
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly containers: readonly [Container];
        readonly volumes: readonly Volume[];
        readonly terminationGracePeriodSeconds: number;
      };
    };
  };
};
type Resource = { readonly kind: string; readonly metadata: Named; readonly spec: Readonly<Record<string, unknown>> };

const kustomization = parse(read('kustomization.yaml')) as Kustomization;
// As Kubernetes reads YAML, where 0440 is octal.
const resources = kustomization.resources.flatMap((name) =>
  parseAllDocuments(read(name), { version: '1.1' }).map((document) => document.toJS() as Resource),
);
const { spec } = resources.find(({ kind }) => kind === 'StatefulSet') as unknown as StatefulSet;
const pod = spec.template.spec;
const [container] = pod.containers;
const [settings] = kustomization.configMapGenerator;

test('the kustomization has every file, and what it has refers to what there is', (t) => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(yaml|toml)$/.test(name),
  );
  const used = ['kustomization.yaml', ...kustomization.resources, ...(settings?.files ?? [])];
  t.deepEqual(files.sort(), used.sort());
  const services = resources.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name);
  t.true(services.includes(spec.serviceName));
  const { labels } = spec.template.metadata;
  const selectors = JSON.stringify(resources).match(/"app\.kubernetes\.io\/name":"[^"]*"/g) ?? [];
  t.true(selectors.length >= 6);
  for (const one of selectors) t.is(one, `"app.kubernetes.io/name":"${labels['app.kubernetes.io/name']}"`);
  const volumes = [...pod.volumes, ...spec.volumeClaimTemplates.map(({ metadata }) => metadata)].map(
    ({ name }) => name,
  );
  t.deepEqual(container.volumeMounts.map(({ name }) => name).sort(), volumes.sort());
  // Secrets are nobody's to commit: the page says how each is made.
  const secrets = [
    ...pod.volumes.flatMap(({ secret }) => secret?.secretName ?? []),
    ...container.env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef.name ?? []),
  ];
  t.is(secrets.length, 3);
  for (const name of secrets) t.regex(page, new RegExp(`^ {4}kubectl create secret generic ${name} `, 'm'));
});

test('the settings are such as the server takes, and name files that are mounted', async (t) => {
  const store = /MEMOIR_STORE='([^']*)'/.exec(page)?.[1];
  t.truthy(store);
  const environment = {
    ...imageEnvironment(),
    ...Object.fromEntries(container.env.map(({ name, value }) => [name, value ?? store])),
  };
  const config = await serverSettings({
    file: join(folder, 'settings/memoir.toml'),
    environment,
    flags: {},
    directory: '/',
  });
  const inPod = (path = '') => path.replace(join(folder, 'settings'), '/etc/memoir');
  const paths = [
    config.tls?.cert,
    config.tls?.key,
    config.auth.tokens,
    config.content.ca,
    config.policy,
    config.data_dir,
  ];
  for (const path of [...paths, environment.MEMOIR_TLS_CA, environment.MEMOIR_CONFIG]) {
    t.truthy(
      container.volumeMounts.find(({ mountPath }) => inPod(path).startsWith(`${mountPath}/`)),
      path,
    );
  }
  t.true(config.wait_for_store);
  t.true(pod.terminationGracePeriodSeconds > config.drain_timeout + 5 + 10);
  t.is(config.listen, `0.0.0.0:${container.ports[0]?.containerPort}`);
  t.deepEqual(checkPolicy(join(folder, 'settings/policy.toml')).warnings, []);
  // What the servers call is let out.
  const { egress } = (resources.find(({ kind }) => kind === 'NetworkPolicy') as Resource).spec as {
    readonly egress: readonly { readonly ports: readonly { readonly port: number }[] }[];
  };
  const ports = egress.flatMap((one) => one.ports.map(({ port }) => port));
  t.true(ports.includes(Number(parseContentUrl(config.content.store ?? '').address.split(':')[1])));
  t.true(ports.includes(Number(/:(\d+)\?/.exec(config.store ?? '')?.[1])));
});

test('the probes are commands as memoir takes them, and have time for an answer', (t) => {
  const entry = /^ENTRYPOINT \[.*"([^"]+\.js)"\]$/m.exec(
    readFileSync(join(deployFolder, 'container/Containerfile'), 'utf8'),
  )?.[1];
  const options = (probe: Probe) => {
    const [node, main, name, ...rest] = probe.exec.command;
    t.deepEqual([node, main, name], ['node', entry, 'health']);
    const command = healthCommand();
    t.deepEqual(command.parseOptions([...rest]), { operands: [], unknown: [] });
    t.true(probe.timeoutSeconds > command.opts<{ timeout: number }>().timeout);
    return command.opts<{ live?: boolean }>();
  };
  t.true(options(container.livenessProbe).live);
  t.true(options(container.startupProbe).live);
  t.is(options(container.readinessProbe).live, undefined);
});

test('Kubernetes has resources of these forms', (t) => {
  const python = process.env.MEMOIR_TEST_PYTHON ?? 'python3';
  const code = `import json, sys, kubernetes_validate
for one in json.load(sys.stdin): print(kubernetes_validate.validate(one, '1.31', strict=True))`;
  if (spawnSync(python, ['-c', 'import kubernetes_validate']).status !== 0) {
    return wanting(t, 'python', `${python} has no kubernetes-validate`);
  }
  const said = spawnSync(python, ['-c', code], { input: JSON.stringify(resources), encoding: 'utf8' });
  t.is(said.status, 0, said.stderr);
  t.is(said.stdout.trim().split('\n').length, resources.length);
  const [first] = resources;
  const wrong = [{ ...first, spec: { ...first?.spec, replicaz: 3 } }];
  t.not(spawnSync(python, ['-c', code], { input: JSON.stringify(wrong) }).status, 0, 'what there is not is found');
});
