import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkPaths } from './layers/paths.js';
import { checkSources, problemText } from './layers/rules.js';

// Checks every source of the repository against the layers, the length of files, the size of folders and circles of imports, and
// that every path which a page names is there. Part of `npm run lint`.

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Texts of files by their path from the root. */
function textsOf(folders: readonly string[], ending: string): Map<string, string> {
  const texts = new Map<string, string>();
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith(ending)) continue;
      const path = join(entry.parentPath, entry.name);
      texts.set(path.slice(root.length).replaceAll('\\', '/'), readFileSync(path, 'utf8'));
    }
  }
  return texts;
}

const sources = textsOf(['src', 'projections', 'gen', 'test', 'bench', 'demo', 'docs'], '.ts');
const pages = textsOf(['docs'], '.md');
for (const page of ['README.md', 'CONTRIBUTING.md']) pages.set(page, readFileSync(join(root, page), 'utf8'));
const rooms = readdirSync(join(root, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => `src/${name}`);
const problems = [...checkSources(sources), ...checkPaths(pages, (path) => existsSync(join(root, path)), rooms)];
for (const problem of problems) console.error(problemText(problem));
if (problems.length > 0 || sources.size === 0) process.exitCode = 1;
console.log(
  `${sources.size} sources and ${pages.size} pages, ${problems.length} problems of layers, length, folders, circles or paths`,
);
