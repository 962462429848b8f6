import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { makeProject } from '../support/project.js';
import { wanting } from '../support/required.js';
import { complete, fail, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';

// The examples of docs/subscribe.md, run as they are.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const project = makeProject();
const directory = mkdtempSync(join(tmpdir(), 'memoir-examples-'));
test.after.always(() => {
  project.repository.dispose();
  rmSync(directory, { recursive: true });
});

type Start = (address: string, table: string) => ChildProcess;

/** Lets the example run, kills it again and again while jobs finish, and looks at what it kept. */
async function tryExample(t: ExecutionContext, name: string, start: Start): Promise<void> {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const path = join(directory, `${name}.sqlite`);
  const expected: [string, string][] = [];
  for (let round = 0; round < 3; round++) {
    const example = start(server.address(), path);
    const gone = once(example, 'exit');
    for (let i = 0; i < 3; i++) {
      const uuid = uuidOf(await request(ada, { scriptParameters: { round, i } }));
      if (i === 2) await fail(bob, uuid);
      else await complete(bob, uuid);
      expected.push([uuid, i === 2 ? 'JobFailed' : 'JobCompleted']);
    }
    await until(`${name} kept ${expected.length} jobs`, () => {
      if (example.exitCode !== null) throw new Error(`${name} ended with ${example.exitCode}`);
      return rows(path).length === expected.length;
    });
    example.kill('SIGKILL');
    await gone;
  }
  t.deepEqual(rows(path), expected);
}

function rows(path: string): [string, string][] {
  if (!existsSync(path)) return [];
  const db = new Database(path, { readonly: true });
  try {
    const there = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'finished'").get();
    return there ? (db.prepare('SELECT job, how FROM finished ORDER BY rowid').raw().all() as [string, string][]) : [];
  } finally {
    db.close();
  }
}

test('the example in TypeScript keeps every finished job once', async (t) => {
  await tryExample(t, 'typescript', (address, path) =>
    spawn(process.execPath, [join(root, 'build/docs/examples/subscriber.js'), address, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  );
});

test('the example in Python keeps every finished job once', async (t) => {
  // MEMOIR_TEST_PYTHON=/path/to/python of an environment that has grpcio and grpcio-tools.
  const python = process.env.MEMOIR_TEST_PYTHON ?? 'python3';
  if (spawnSync(python, ['-c', 'import grpc, grpc_tools']).status !== 0) {
    wanting(t, 'python', `${python} has no grpcio and grpcio-tools`);
    return;
  }
  const code = join(directory, 'python');
  const protoc = execFileSync(python, ['-c', 'import sys; print(sys.prefix)'], { encoding: 'utf8' }).trim();
  const env = { ...process.env, PATH: `${join(protoc, 'bin')}:${process.env.PATH}` };
  const template = 'docs/examples/python/buf.gen.yaml';
  execFileSync(join(root, 'node_modules/.bin/buf'), ['generate', '--template', template, '--output', code], {
    cwd: root,
    env,
  });
  await tryExample(t, 'python', (address, path) =>
    spawn(python, [join(root, 'docs/examples/python/subscriber.py'), address, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...env, PYTHONPATH: join(code, 'build/python') },
    }),
  );
});
