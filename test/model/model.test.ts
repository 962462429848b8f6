import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { wanting } from '../support/required.js';

// The models of docs/model: what they say holds, and what they say of the code.

const root = fileURLToPath(new URL('../../../', import.meta.url));
type Script = {
  missing(): Promise<string | undefined>;
  check(say: (line: string) => void): Promise<readonly string[]>;
  readonly instances: readonly { readonly rules: readonly string[]; readonly limits?: readonly string[] }[];
};
const { missing, check, instances } = (await import(`${root}scripts/model.js`)) as Script;

const models = readdirSync(`${root}docs/model`).filter((file) => file.endsWith('.pml'));
const read = (file: string): string => readFileSync(`${root}${file}`, 'utf8');

test('every interleaving keeps the promises, and none of the rules can be left out', async (t) => {
  t.timeout(300_000);
  const lacking = await missing();
  if (lacking !== undefined) {
    wanting(t, 'spin', lacking);
    return;
  }
  t.deepEqual(await check((line) => t.log(line)), []);
});

test('the functions that the models name are where they say', (t) => {
  let named = 0;
  for (const model of models) {
    // `these(), those() and others() of src/a/file.ts`, comments going on in the next line.
    const text = read(`docs/model/${model}`).replace(/\n \* +/g, ' ');
    for (const [, functions = '', file = ''] of text.matchAll(/((?:\w+\(\)(?:, | and )?)+) of (src\/[\w/-]+\.ts)/g)) {
      for (const [, name] of functions.matchAll(/(\w+)\(\)/g)) {
        named++;
        t.regex(read(file), new RegExp(`\\b${name}(<.*>)?\\(`), `${model} names ${name}() of ${file}`);
      }
    }
  }
  t.true(named > 30, `only ${named} functions are named`);
});

test('every rule that a model can do without is checked and explained', (t) => {
  const rules = instances.flatMap((instance) => [...instance.rules, ...(instance.limits ?? [])]);
  const readme = read('docs/model/README.md');
  for (const rule of rules) t.true(readme.includes(`\`${rule}\``), `docs/model/README.md says nothing of ${rule}`);
  const switches = models.flatMap((file) =>
    [...read(`docs/model/${file}`).matchAll(/^#(?:ifdef|ifndef|elif defined\(|if defined\()\s*(\w+)/gm)].map(
      ([, name]) => name ?? '',
    ),
  );
  const sizes = /^(CLIENTS|WORKERS|WATCHES|CALLS|CLAIMS|BEATS|SWEEPS|RETRY_LOST|RETRY_FAILED|FAULTS)$/;
  const parts = /^(PRIORITIES|OUTRIGHT|REPEATS|LIMITS|HEARTS|SHARED|WANTED)$/;
  for (const name of new Set(switches)) {
    t.true(rules.includes(name) || sizes.test(name) || parts.test(name), `no instance checks ${name}`);
  }
});
