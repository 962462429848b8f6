import test from 'ava';
import { checkSources, importsOf, problemText } from './rules.js';

const sound: Record<string, string> = {
  'src/domain/job.ts': "import { createHash } from 'node:crypto';\nimport { a } from '../../gen/a_pb.js';\n",
  'src/domain/errors.ts': '',
  'gen/a_pb.ts': "import type { X } from '@bufbuild/protobuf';\n",
  'src/eventstore/port.ts': "import { quote } from '../domain/errors.js';\n",
  'src/eventstore/thread.ts': '',
  'src/eventstore/store.ts': `new Worker(${'new URL'}('./thread.js', import.meta.url));\n`,
  'projections/jobs.ts': "import '../src/eventstore/port.js';\n",
  'src/jobs/create.ts': "import '../../projections/jobs.js';\n",
  'src/rpc/client.ts': "import '../domain/errors.js';\n",
  'src/rpc/server.ts': "import '../jobs/create.js';\nimport './client.js';\n",
  'src/worker/worker.ts': "import '../rpc/client.js';\n",
  'src/main.ts': "import './rpc/server.js';\nimport './worker/worker.js';\n",
  'src/cli/server/run-server.ts': "import '../../main.js';\n",
  'src/cli/main.ts': "import './server/run-server.js';\n",
  'test/a.test.ts': "import '../src/cli/main.js';\n",
};

/** The problems of the sound sources with some changed, as lines. */
const check = (changed: Record<string, string>) =>
  checkSources(new Map(Object.entries({ ...sound, ...changed }))).map(problemText);

test('sound sources have no problem', (t) => {
  t.deepEqual(check({}), []);
});

test('an import that points outward is refused, naming file, import and rule', (t) => {
  const cases: [file: string, specifier: string, rule: string][] = [
    ['src/domain/job.ts', '../eventstore/port.js', 'domain may import only gen, not eventstore'],
    ['src/domain/job.ts', 'node:fs', 'domain may import only the packages @bufbuild/protobuf, canonicalize,'],
    ['src/domain/job.ts', 'better-sqlite3', 'domain may import only the packages'],
    ['src/domain/job.ts', 'uuidv7', 'domain may import only the packages'],
    ['gen/a_pb.ts', '../src/domain/errors.js', 'gen may import no other layer, not domain'],
    [
      'src/eventstore/port.ts',
      '../../projections/jobs.js',
      'eventstore may import only domain, gen, edge, files, threads, not projections',
    ],
    [
      'projections/jobs.ts',
      '../src/jobs/create.js',
      'projections may import only domain, gen, edge, files, threads, eventstore, not jobs',
    ],
    ['src/jobs/create.ts', '../rpc/server.js', 'not rpc'],
    ['src/jobs/create.ts', '../main.js', 'not main'],
    [
      'src/rpc/client.ts',
      '../jobs/create.js',
      'rpc client may import only domain, gen, edge, files, threads, not jobs',
    ],
    ['src/rpc/server.ts', '../worker/worker.js', 'not worker'],
    ['src/worker/worker.ts', '../rpc/server.js', 'not rpc'],
    ['src/worker/worker.ts', '../jobs/create.js', 'not jobs'],
    ['src/cli/main.ts', '../main.js', 'not main'],
    ['src/cli/main.ts', '../jobs/create.js', 'not jobs'],
    ['src/main.ts', './cli/main.js', 'main may import only *, not cli'],
    ['src/main.ts', '../test/a.test.js', 'not outside'],
    ['src/domain/job.ts', './missing.js', 'there is no src/domain/missing.ts'],
  ];
  for (const [file, specifier, rule] of cases) {
    for (const statement of [`import { a } from '${specifier}';\n`, `export * from "${specifier}";\n`]) {
      const found = check({ [file]: statement }).filter((line) => !line.includes('circle'));
      t.is(found.length, 1, `${file} ${specifier}: ${found}`);
      t.true(found[0]?.startsWith(`${file} imports ${specifier}: `));
      t.true(found[0]?.includes(rule), found[0]);
    }
  }
});

test('threads and renamed files are for the files that everybody has them from', (t) => {
  const worker = "import { type Transferable, Worker } from 'node:worker_threads';\n";
  const renaming = "import {\n  mkdir,\n  rename,\n} from 'node:fs/promises';\n";
  t.deepEqual(check({ 'src/jobs/create.ts': worker }), [
    'src/jobs/create.ts imports node:worker_threads: threads are started and served by src/threads',
  ]);
  for (const text of [renaming, "import { renameSync } from 'node:fs';\n"]) {
    t.regex(check({ 'src/jobs/create.ts': text }).join(), /imports node:fs.*: what is written aside gets its name by/);
  }
  t.deepEqual(check({ 'src/files/durable-file.ts': renaming, 'src/threads/thread.ts': worker }), []);
  t.deepEqual(check({ 'test/a.test.ts': worker, 'src/jobs/create.ts': "import { readlink } from 'node:fs';\n" }), []);
});

test('a file of no layer, and a long one, are refused', (t) => {
  t.regex(check({ 'src/stray.ts': '' })[0] ?? '', /^src\/stray\.ts: it belongs to no layer/);
  t.deepEqual(check({ 'src/domain/errors.ts': '\n'.repeat(401) }), [
    'src/domain/errors.ts: it has 401 lines, more than 400',
  ]);
  t.deepEqual(check({ 'src/domain/errors.ts': '\n'.repeat(400) }), []);
  t.deepEqual(check({ 'test/a.test.ts': '\n'.repeat(4_000), 'gen/a_pb.ts': '\n'.repeat(4_000) }), []);
});

test('a folder with too many files is refused, tests and generated ones excepted', (t) => {
  const many = (folder: string, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`${folder}/file-${i}.ts`, '']));
  t.deepEqual(check(many('src/git/graph', 25)), ['src/git/graph: 25 files lie in it, more than 24']);
  t.deepEqual(check({ ...many('src/git/graph', 24), ...many('test/e2e', 40), ...many('gen/memoir', 40) }), []);
});

test('a circle of imports is refused once, with its chain, one of types alone too', (t) => {
  const found = check({
    'src/git/a.ts': "import './b.js';\n",
    'src/git/b.ts': "import {\n  type C,\n} from './c.js';\n",
    'src/git/c.ts': "import { type A } from './a.js';\nimport '../domain/errors.js';\n",
    'src/git/types.ts': "import type { D } from './types-too.js';\n",
    'src/git/types-too.ts': "import type { T } from './types.js';\n",
    'src/git/self.ts': "import './self.js';\n",
  });
  t.deepEqual(found, [
    'src/git/a.ts: it is in a circle of imports: src/git/a.ts → src/git/b.ts → src/git/c.ts → src/git/a.ts',
    'src/git/types.ts: it is in a circle of imports: src/git/types.ts → src/git/types-too.ts → src/git/types.ts',
    'src/git/self.ts: it is in a circle of imports: src/git/self.ts → src/git/self.ts',
  ]);
});

test('every form of an import is seen, and nothing else', (t) => {
  const text = [
    "import a from './a.js';",
    "import * as b from './b.js';",
    "import type { C } from './c.js';",
    "import d, { type D } from './d.js';",
    'import {',
    '  e,',
    "} from './e.js';",
    "import './f.js';",
    "export { g } from './g.js';",
    "export type * from './h.js';",
    "// import i from './no-1.js';",
    '/**',
    " * import j from './no-2.js';",
    ' */',
    "const text = `import k from './no-3.js'`;",
    "export const l = './no-4.js';",
    `const m = await ${'import'}('./m.js');`,
    `${'new URL'}('./n.js', import.meta.url);`,
    `${'new URL'}('../data.jsonl', import.meta.url);`,
  ].join('\n');
  t.is(
    importsOf(text)
      .map((specifier) => specifier.slice(2, -3))
      .join(''),
    'abcdefghmn',
  );
});
