import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { serverConfig } from '../../src/config.js';

/** What JSON Schema says of a setting. */
type Schema = {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly default?: unknown;
};

type Table = Readonly<Record<string, unknown>>;

/** A setting by its path, in which "*" stands for any name, with its default. */
type Setting = readonly [path: string, byDefault: unknown];

/** The settings of the example files in a section of a page, as one file. */
function examples(page: string, section: string): Table {
  const path = fileURLToPath(new URL(`../../../docs/${page}`, import.meta.url));
  const [, text = ''] =
    new RegExp(`^## ${section}\\n([\\s\\S]*?)^(?:## |$(?![\\s\\S]))`, 'm').exec(readFileSync(path, 'utf8')) ?? [];
  const blocks = text.match(/(?:^ {4}.*\n|^\n(?= {4}))+/gm) ?? [];
  return blocks.map((block) => parse(block) as Table).reduce(merged, {});
}

function merged(a: Table, b: Table): Table {
  const both = Object.entries(b).map(([key, value]) => [
    key,
    isTable(a[key]) && isTable(value) ? merged(a[key], value) : value,
  ]);
  return { ...a, ...Object.fromEntries(both) };
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function settings({ properties = {} }: Schema, path = ''): Setting[] {
  return Object.entries(properties).flatMap(([key, schema]): Setting[] => {
    const here = `${path}${key}`;
    if (schema.properties) return settings(schema, `${here}.`);
    const { additionalProperties: members } = schema;
    if (typeof members === 'object' && members.properties) return settings(members, `${here}.*.`);
    return [[here, schema.default]];
  });
}

/** The values that a file has at a path. */
function valuesAt(file: unknown, [key, ...rest]: readonly string[]): unknown[] {
  if (key === undefined) return file === undefined ? [] : [file];
  if (!isTable(file)) return [];
  return (key === '*' ? Object.values(file) : [file[key]]).flatMap((value) => valuesAt(value, rest));
}

/** Settings whose example is not their default. */
const otherwise = new Set([
  'listen',
  'auth.issuers.*.groups',
  'remotes.allowed_hosts',
  'registries.*.hosts',
  'unhashed_parameters',
]);

const page = merged(examples('operate.md', 'Start'), examples('images.md', 'Registries'));
const all = settings(z.toJSONSchema(serverConfig, { io: 'input', unrepresentable: 'any' }) as Schema);

test('the page of settings has every setting, with its default', (t) => {
  t.true(all.length > 40, 'settings are found');
  for (const [path, byDefault] of all) {
    const values = valuesAt(page, path.split('.'));
    t.true(values.length > 0, `docs/operate.md has no example of ${path}`);
    if (byDefault !== undefined && !otherwise.has(path))
      t.deepEqual(
        values,
        values.map(() => byDefault),
        path,
      );
  }
});

test('the page of settings has no setting that there is not, and no value that would be refused', (t) => {
  const { success, error } = serverConfig.safeParse(page);
  t.true(success, error?.message);
});
