import { execFile } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const script = `#!/usr/bin/env node
import { readFileSync, writeFileSync } from 'node:fs';

const { limit } = JSON.parse(readFileSync(0, 'utf8'));
const primes = [];
for (let n = 2; n <= limit; n++) {
  if (primes.every((p) => p * p > n || n % p !== 0)) primes.push(n);
  if (n % Math.ceil(limit / 4) === 0) {
    console.log(n + ' of ' + limit + ' looked at');
    writeFileSync(process.env.MEMOIR_PROGRESS, JSON.stringify({ progress: n / limit, message: primes.length + ' primes' }));
  }
}
writeFileSync(process.env.MEMOIR_OUTPUT + '/primes.json', JSON.stringify({ limit, count: primes.length, largest: primes.at(-1) }));
console.log(primes.length + ' primes');
`;

/** The script in the demonstration's repository. */
export const scriptPath = 'analysis/primes.mjs';

/**
 * Makes a small real git repository, by the program git, with a branch `main` and a tag `v1.0` of its only commit; gives the commit.
 * @throws Error with what git says
 */
export async function makeDemoRepository(dir: string, seconds: number): Promise<string> {
  const when = `${seconds} +0000`;
  // Nothing of the configuration of the machine or of who runs it.
  const env = {
    PATH: process.env.PATH,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'Ada Example',
    GIT_AUTHOR_EMAIL: 'ada@example.com',
    GIT_AUTHOR_DATE: when,
    GIT_COMMITTER_NAME: 'Ada Example',
    GIT_COMMITTER_EMAIL: 'ada@example.com',
    GIT_COMMITTER_DATE: when,
  };
  const git = async (...args: string[]) => (await promisify(execFile)('git', args, { cwd: dir, env })).stdout.trim();
  await mkdir(join(dir, dirname(scriptPath)), { recursive: true });
  await git('init', '--quiet', '--initial-branch=main');
  await writeFile(join(dir, scriptPath), script);
  await chmod(join(dir, scriptPath), 0o755);
  await writeFile(join(dir, 'README'), 'Counts primes.\n');
  await git('add', '--all');
  await git('commit', '--quiet', '--message=Count primes');
  await git('tag', 'v1.0');
  return git('rev-parse', 'HEAD');
}
