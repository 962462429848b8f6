import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkSources, problemText } from './layers/rules.js';

// Checks every source of the repository against the layers, the length of files and circles of imports. Part of `npm run lint`.

const root = fileURLToPath(new URL('../../', import.meta.url));
const sources = new Map<string, string>();
for (const folder of ['src', 'projections', 'gen', 'test', 'bench', 'demo', 'docs']) {
  for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const path = join(entry.parentPath, entry.name);
    sources.set(path.slice(root.length).replaceAll('\\', '/'), readFileSync(path, 'utf8'));
  }
}
const problems = checkSources(sources);
for (const problem of problems) console.error(problemText(problem));
if (problems.length > 0 || sources.size === 0) process.exitCode = 1;
console.log(`${sources.size} sources, ${problems.length} problems of layers, length or circles`);
