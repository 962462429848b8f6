import { openRepositories } from '../src/git/repositories.js';

// Resolves and ranges in the repository given as argument, and prints the most memory that the process had, in bytes.

const repositories = await openRepositories({ r: { path: process.argv[2] ?? '' } }, { patience: 600_000 });
const named = (refspec: string) => ({ refspec, field: 'script_version' });
for (const refspec of ['main', 'main~1200', ':/blob 7', 'main^{/small 3}']) {
  const commit = await repositories.resolve('r', refspec);
  await repositories.resolve('r', commit.slice(0, 12));
}
const range = await repositories.range('r', { end: named('main'), minimum: named('main~1200') });
if (range.size !== 1_201) throw new Error(`the range has ${range.size} commits`);
await repositories.close();
console.log(process.resourceUsage().maxRSS * 1024);
