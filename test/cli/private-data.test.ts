import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { contentClient, digestOf } from '../support/content.js';
import { makeProject } from '../support/project.js';
import { request, uuidOf } from '../support/runs.js';
import { clientsOf } from '../support/server.js';
import { until } from '../support/until.js';

const memoir = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'memoir-umask-'));
const data = join(directory, 'data');
const project = makeProject();
test.after.always(() => {
  rmSync(directory, { recursive: true });
  project.repository.dispose();
});

/** Starts `memoir serve` from a shell that lets everybody read and write what it makes. */
async function serve(t: {
  teardown(f: () => void): void;
}): Promise<{ child: ChildProcess; address: string; said: string[] }> {
  const args = ['serve', '--data-dir', data, '--listen', '127.0.0.1:0', '--keep-commits'];
  const command = [process.execPath, memoir, ...args, '--repository', `project=${project.repository.path}`];
  // Those of the tests are no settings of a server.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MEMOIR_')));
  const child = spawn('sh', ['-c', 'umask 0; exec "$@"', 'sh', ...command], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(() => [said.join('\n')]),
  ])) as [string];
  return { child, address: line.replace('ready on ', ''), said };
}

async function stop(child: ChildProcess) {
  child.kill('SIGTERM');
  if (child.exitCode === null) await once(child, 'exit');
}

/** Everything in a directory, and itself; files come and go while a server runs. */
function all(path: string): string[] {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return [];
  return found.isDirectory() ? [path, ...readdirSync(path).flatMap((name) => all(join(path, name)))] : [path];
}

const open = () => all(data).filter((path) => ((lstatSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0);

test('whatever the umask says, what a server keeps is its own; what was open is mended; an open key is refused', async (t) => {
  const first = await serve(t);
  const ada = clientsOf(first.address, 'ada');
  const uuid = uuidOf(await request(ada));
  const content = contentClient(first.address, 'ada');
  const blob = Buffer.from('private');
  await content.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(blob), data: blob }] });
  content.close();
  await until('the commit is kept', () => {
    const kept = all(join(data, 'git')).filter((path) => path.endsWith(uuid));
    return kept.length > 0;
  });
  ada.close();
  t.deepEqual(open(), []);
  t.true(all(data).some((path) => path.includes('/content/blobs/')));
  await stop(first.child);
  t.deepEqual(open(), []);

  execFileSync('chmod', ['-R', 'go+rwX', data]);
  chmodSync(join(data, 'checkpoint.key'), 0o600);
  const second = await serve(t);
  t.deepEqual(open(), []);
  t.true(second.said.some((line) => line.includes('made private') && line.includes('events.sqlite')));
  await stop(second.child);

  chmodSync(join(data, 'checkpoint.key'), 0o644);
  const third = await serve(t);
  t.regex(third.address, /checkpoint.key\\?" may be used by others than its owner \(mode 644\)/);
});
