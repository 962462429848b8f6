import test from 'ava';
import { checkPaths } from './paths.js';
import { problemText } from './rules.js';

const there = new Set(['src/jobs', 'docs/git.md', 'LICENSE', 'src/jobs/', 'docs/../LICENSE']);
const check = (pages: Record<string, string>, rooms: string[] = []) =>
  checkPaths(new Map(Object.entries(pages)), (path) => there.has(path), rooms).map(problemText);

test('paths that are there, and what is no path, have no problem', (t) => {
  const readme =
    '[jobs](src/jobs), [git](docs/git.md#mirrors), [elsewhere](https://example.org/src/none), `npm test`, `a/b`';
  t.deepEqual(
    check({ 'README.md': readme, 'docs/a.md': '`src/jobs/` [license](../LICENSE) [here](#there)' }, ['src/jobs']),
    [],
  );
});

test('a link, a path in back quotes and a room that is not on the map are named', (t) => {
  t.deepEqual(check({ 'README.md': '[a](src/gone.ts)', 'docs/a.md': 'see `src/none.ts`' }, ['src/jobs']), [
    'README.md: it links to src/gone.ts, which is not there',
    'docs/a.md: it names src/none.ts, which is not there',
    'README.md: its map does not have src/jobs',
  ]);
});
