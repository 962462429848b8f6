import fs from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import git from 'isomorphic-git';

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

/** Makes a small real git repository with a branch `main` and a tag `v1.0` of its only commit; gives the commit. */
export async function makeDemoRepository(dir: string, seconds: number): Promise<string> {
  await git.init({ fs, dir, defaultBranch: 'main' });
  await mkdir(join(dir, dirname(scriptPath)), { recursive: true });
  await writeFile(join(dir, scriptPath), script);
  await chmod(join(dir, scriptPath), 0o755);
  await writeFile(join(dir, 'README'), 'Counts primes.\n');
  await git.add({ fs, dir, filepath: [scriptPath, 'README'] });
  const author = { name: 'Ada Example', email: 'ada@example.com', timestamp: seconds, timezoneOffset: 0 };
  const commit = await git.commit({ fs, dir, message: 'Count primes\n', author });
  await git.tag({ fs, dir, ref: 'v1.0' });
  return commit;
}
