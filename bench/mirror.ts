import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { serveGit } from '../test/support/git-http-server.js';
import { addCommits, type ContentHistory, makeContentRepository } from './content-repository.js';
import { runGit } from './synthetic-repository.js';
import { table } from './table.js';

// What a mirror of a remote repository costs, beside git in the same run over the same server. Processor time is of the client alone.
//
//     node build/bench/mirror.js [--commits 50000] [--files 2000] [--branches 2000] [--repository PATH] [--json FILE]
//
// `--repository` is a bare repository that is taken in place of a made one; new commits are not measured then.

const { values } = parseArgs({
  options: {
    commits: { type: 'string', default: '50000' },
    files: { type: 'string', default: '2000' },
    branches: { type: 'string', default: '2000' },
    repository: { type: 'string' },
    json: { type: 'string' },
  },
});

type Cost = { readonly seconds: number; readonly cpu: number; readonly peakMiB: number };
type Figure = {
  readonly question: string;
  readonly memoir: string;
  readonly git: string;
  readonly target: string;
  readonly met: boolean | null;
};

const figures: Figure[] = [];
const newCommits = 1_000;
const child = fileURLToPath(new URL('./mirror-child.js', import.meta.url));

/** Runs a step of `mirror-child` in a process of its own. */
async function memoir(step: string, ...args: string[]): Promise<Cost> {
  const running = spawn(process.execPath, [child, step, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  running.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = await once(running, 'close');
  if (code !== 0) throw new Error(`the step ${step} ended with ${code}`);
  return JSON.parse(Buffer.concat(chunks).toString()) as Cost;
}

/** Runs git below a shell that tells what it took, its children included. */
async function git(...args: string[]): Promise<Cost> {
  const quoted = ['git', ...args].map((arg) => `'${arg}'`).join(' ');
  const running = spawn('bash', ['-c', `TIMEFORMAT='%R %U %S'; time ${quoted} >/dev/null 2>/dev/null`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const chunks: Buffer[] = [];
  running.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = await once(running, 'close');
  const [seconds = 0, user = 0, system = 0] = Buffer.concat(chunks).toString().trim().split(' ').map(Number);
  if (code !== 0) throw new Error(`git ${args[0]} ended with ${code}`);
  return { seconds, cpu: user + system, peakMiB: 0 };
}

function compare(question: string, by: 'seconds' | 'cpu', ours: Cost, theirs: Cost, factor: number): void {
  const text = (cost: Cost) => `${cost.seconds.toFixed(2)} s, processor ${cost.cpu.toFixed(2)} s`;
  const met = ours[by] <= factor * Math.max(theirs[by], 0.001);
  figures.push({
    question,
    memoir: text(ours),
    git: text(theirs),
    target: `${by === 'cpu' ? 'processor ' : ''}≤ ${factor} × git`,
    met,
  });
}

const median = async (times: number, work: () => Promise<Cost>): Promise<Cost> => {
  const costs: Cost[] = [];
  for (let i = 0; i < times; i++) costs.push(await work());
  return costs.sort((a, b) => a.seconds - b.seconds)[times >> 1] as Cost;
};

const scratch = mkdtempSync(join(tmpdir(), 'memoir-mirror-bench-'));
try {
  const history: ContentHistory = {
    path: join(scratch, 'origin.git'),
    commits: Number(values.commits),
    files: Number(values.files),
    branches: Number(values.branches),
  };
  const path = values.repository === undefined ? history.path : resolve(values.repository);
  if (values.repository === undefined) await makeContentRepository(history);
  const server = await serveGit(dirname(path));
  const url = `${server.url}/${basename(path)}`;
  const mirror = join(scratch, 'mirror');
  const clone = join(scratch, 'clone.git');

  const cloned = await git('clone', '--mirror', url, clone);
  const mirrored = await memoir('fetch', url, mirror);
  compare('first mirror', 'seconds', mirrored, cloned, 2);
  figures.push({
    question: '… most memory',
    memoir: `${mirrored.peakMiB.toFixed(0)} MiB`,
    git: '',
    target: '≤ 300 MiB',
    met: mirrored.peakMiB <= 300,
  });

  const pack = readdirSync(join(clone, 'objects/pack')).find((name) => name.endsWith('.pack')) ?? '';
  const copy = join(scratch, 'copy.pack');
  copyFileSync(join(clone, 'objects/pack', pack), copy);
  const indexed = await memoir('index', copy);
  compare(
    'index of its pack',
    'cpu',
    indexed,
    await git('index-pack', '--threads=1', '-o', join(scratch, 'copy.idx'), copy),
    2.5,
  );
  if (!readFileSync(`${copy}.memoir.idx`).equals(readFileSync(join(scratch, 'copy.idx'))))
    throw new Error('the indexes differ');

  compare(
    'refresh with nothing new',
    'seconds',
    await memoir('refresh', url, mirror),
    await median(5, () => git('ls-remote', url)),
    2,
  );
  if (values.repository === undefined) {
    await addCommits(history, newCommits);
    const fetched = await git('--git-dir', clone, 'fetch', '--prune');
    compare(`fetch of ${newCommits} commits`, 'seconds', await memoir('fetch', url, mirror), fetched, 2);
  }
  const own = readdirSync(mirror).find((name) => name.startsWith('r-')) ?? '';
  const served = join(mirror, own, 'served.git');
  execFileSync('git', ['--git-dir', served, 'fsck', '--connectivity-only', '--no-dangling'], { stdio: 'inherit' });
  const refs = (directory: string) => runGit('.', ['--git-dir', directory, 'for-each-ref', 'refs/heads', 'refs/tags']);
  if ((await refs(served)) !== (await refs(path))) throw new Error('the refs differ');
  await server.close();
  console.log(
    table(
      ['', 'memoir', 'git', 'target', ''],
      figures.map(({ question, memoir: ours, git: theirs, target, met }) => [
        question,
        ours,
        theirs,
        target,
        met ? 'met' : 'not met',
      ]),
    ),
  );
  if (values.json) writeFileSync(values.json, JSON.stringify(figures, null, 2));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
