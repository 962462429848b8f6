import { execFile } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { wanting } from '../support/required.js';

// Clients in other languages: what is generated from the protos compiles, messages and services, each by its language's own tools.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'memoir-languages-'));
test.after.always(() => rmSync(directory, { recursive: true }));

/** Memoir's own: what is other people's they have for each language themselves. */
const protos = filesOf(join(root, 'proto')).filter((path) => /^memoir\/.*\.proto$/.test(path));
const services = protos
  .flatMap((path) => [...readFileSync(join(root, 'proto', path), 'utf8').matchAll(/^service (\w+)/gm)])
  .map(([, name = '']) => name)
  .sort();

/** Paths from a folder of all that is in it. */
function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' });
}

/** Runs a program that makes or compiles code, in the root if nothing else is said. Throws what it wrote to stderr if it fails. */
async function run(program: string, args: readonly string[], cwd: string = root): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** Why a program cannot be run, or undefined if it can. */
async function refusal(program: string, args: readonly string[], cwd?: string): Promise<string | undefined> {
  return run(program, args, cwd).then(
    () => undefined,
    (error: Error) => error.message.trim().slice(-500),
  );
}

/** What `buf generate` makes of the protos, by plugins as a buf.gen.yaml has them. */
async function generate(plugins: readonly object[]): Promise<void> {
  const template = { version: 'v2', inputs: [{ directory: 'proto', paths: ['proto/memoir'] }], plugins };
  await run(join(root, 'node_modules/.bin/buf'), ['generate', '--template', JSON.stringify(template)]);
}

/** A new folder for the code of a language. */
function folderFor(language: string): string {
  const folder = join(directory, language);
  mkdirSync(folder);
  return folder;
}

test.serial('code in Python is generated and imported', async (t) => {
  t.timeout(300_000);
  // MEMOIR_TEST_PYTHON=/path/to/python of an environment that has grpcio and grpcio-tools.
  const python = process.env.MEMOIR_TEST_PYTHON ?? 'python3';
  if ((await refusal(python, ['-c', 'import grpc, grpc_tools'])) !== undefined) {
    wanting(t, 'python', `${python} has no grpcio and grpcio-tools`);
    return;
  }
  const code = folderFor('python');
  await run(
    python,
    ['-m', 'grpc_tools.protoc', '-I.', `--python_out=${code}`, `--grpc_python_out=${code}`, ...protos],
    join(root, 'proto'),
  );
  const modules = filesOf(code)
    .filter((path) => path.endsWith('.py'))
    .map((path) => path.slice(0, -'.py'.length).replaceAll('/', '.'));
  t.is(modules.length, 2 * protos.length);
  const program = [
    'import importlib, sys',
    'for name in sys.argv[1:]:',
    '  print("\\n".join(dir(importlib.import_module(name))))',
  ].join('\n');
  const names = (await run(python, ['-c', program, ...modules], code)).split('\n');
  t.deepEqual(names.filter((name) => /^\w+Stub$/.test(name)).sort(), services.map((name) => `${name}Stub`).sort());
});

test.serial('code in Go is generated and compiled', async (t) => {
  t.timeout(600_000);
  const code = folderFor('go');
  cpSync(join(root, 'test/protos/go'), code, { recursive: true });
  const refused = await refusal('go', ['mod', 'download'], code);
  if (refused !== undefined) {
    wanting(t, 'go', `go mod download fails: ${refused}`);
    return;
  }
  const plugin = (name: string) => ({ local: ['go', '-C', code, 'tool', name], out: code, opt: 'module=memoir' });
  await generate([plugin('protoc-gen-go'), plugin('protoc-gen-go-grpc')]);
  const generated = filesOf(code).filter((path) => path.endsWith('.pb.go'));
  t.is(generated.length, protos.length + services.length);
  await run('go', ['build', './...'], code);
  const packages = (await run('go', ['list', './...'], code)).trim().split('\n');
  t.is(packages.length, new Set(protos.map((path) => path.slice(0, path.lastIndexOf('/')))).size);
});

test.serial('code in Java is generated and compiled', async (t) => {
  t.timeout(600_000);
  // MEMOIR_TEST_JAVA=/path/to/what test/protos/java/pom.xml names.
  const jars = process.env.MEMOIR_TEST_JAVA;
  if (jars === undefined || !existsSync(jars)) {
    wanting(t, 'java', 'MEMOIR_TEST_JAVA does not name a folder with the dependencies of test/protos/java/pom.xml');
    return;
  }
  const refused = await refusal('javac', ['-version']);
  if (refused !== undefined) {
    wanting(t, 'java', `there is no javac: ${refused}`);
    return;
  }
  const [code, classes, bin] = [folderFor('java'), folderFor('classes'), folderFor('bin')];
  /** A program that Maven brought: it does not make it one that can be run. */
  const program = (name: RegExp): string => {
    const file = readdirSync(jars).find((entry) => name.test(entry));
    if (file === undefined) throw new Error(`${jars} has no ${name}`);
    cpSync(join(jars, file), join(bin, file));
    chmodSync(join(bin, file), 0o755);
    return join(bin, file);
  };
  await generate([
    { protoc_builtin: 'java', protoc_path: program(/^protoc-\d.*\.exe$/), out: code },
    { local: program(/^protoc-gen-grpc-java-.*\.exe$/), out: code },
  ]);
  const sources = filesOf(code).filter((path) => path.endsWith('.java'));
  await run('javac', ['-nowarn', '-proc:none', '-cp', join(jars, '*'), '-d', classes, ...sources], code);
  const stubs = filesOf(classes).map((path) => /(\w+)Grpc\.class$/.exec(path)?.[1]);
  t.deepEqual(stubs.filter((name) => name !== undefined).sort(), services);
});
