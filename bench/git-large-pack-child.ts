import { readFileSync } from 'node:fs';
import { openRepositories } from '../src/git/repositories.js';

// Resolves and ranges in the repository given as argument, and prints the most memory that the process had, in bytes.

const repositories = await openRepositories({ r: { path: process.argv[2] ?? '' } }, { patience: 600_000 });
const named = (refspec: string) => ({ refspec, field: 'script_version' });
for (const refspec of ['main', 'main~1010', ':/blob 7', 'main^{/small 3}']) {
  const commit = await repositories.resolve('r', refspec);
  await repositories.resolve('r', commit.slice(0, 12));
}
const range = await repositories.range('r', { end: named('main'), minimum: named('main~1010') });
if (range.size !== 1_011) throw new Error(`the range has ${range.size} commits`);
await repositories.close();
// Not the maxRSS of getrusage, which on Linux begins with that of the parent.
const peak = /^VmHWM:\s+([0-9]+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
console.log(Number(peak) * 1024);
