import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import picomatch from 'picomatch';

// The set of `npm run test:quick`.

const root = fileURLToPath(new URL('../../../', import.meta.url));
type QuickConfig = { readonly default: { readonly files: readonly string[] }; readonly services: object };
const config = (await import(`${root}test/quick.config.js`)) as QuickConfig;

/** Paths from the root of what is in a folder. */
const filesOf = (folder: string): readonly string[] =>
  readdirSync(root + folder, { recursive: true, encoding: 'utf8' }).map((path) => `${folder}/${path}`);

test('every service of the protos is in the quick set, and has a file there alone or with those of its own proto', (t) => {
  const protos = filesOf('proto')
    .filter((path) => path.endsWith('.proto'))
    .map((path) =>
      [...readFileSync(`${root}${path}`, 'utf8').matchAll(/^service (\w+)/gm)].map(([, name]) => name as string),
    )
    .filter((services) => services.length > 0);
  const named = protos.flat();
  t.true(named.length > 6);
  t.deepEqual(Object.keys(config.services).sort(), ['Health', ...named].sort());
  const fileOf = (service: string) => (config.services as Readonly<Record<string, string>>)[service];
  for (const services of protos) t.is(new Set(services.map(fileOf)).size, 1, services.join());
  t.is(new Set(Object.values(config.services)).size, protos.length + 1);
});

test('everything that the quick set names is there', (t) => {
  const built = filesOf('build/test');
  for (const pattern of config.default.files) {
    const matches = picomatch(pattern);
    t.true(
      built.some((path) => matches(path)),
      pattern,
    );
  }
});

test('files of the quick set run alone or in its groups', async (t) => {
  const { groups } = (await import(`${root}ava.config.js`)) as { readonly groups: Readonly<Record<string, string[]>> };
  const inGroups = new Set(Object.values(groups).flat());
  for (const path of Object.values(config.services) as string[]) {
    t.is(inGroups.has(path), groups.services?.includes(path) === true, path);
  }
});

test('what runs together is there, once', async (t) => {
  const { together } = (await import(`${root}ava.config.js`)) as { readonly together: readonly string[] };
  t.true(together.length > 50);
  t.is(new Set(together).size, together.length);
  const built = new Set(filesOf('build/test'));
  t.deepEqual(
    together.filter((path) => !built.has(path)),
    [],
  );
});
