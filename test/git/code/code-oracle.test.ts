import { execFileSync } from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import { codeDigest } from '../../../src/domain/code/code-digest.js';
import type { CodeFound } from '../../../src/git/code/code-at.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../../support/git-repository.js';
import { filesOf, type TreeChange, writeTrees } from '../../support/git-trees.js';
import { rounds } from '../../support/rounds.js';

const names = ['a', 'a.b', 'b', 'é'];
const paths = names.flatMap((one) => [one, ...names.flatMap((two) => [`${one}/${two}`, `${one}/${two}/c`])]);
const modes = ['100644', '100644', '100755', '120000', '160000', 'D'] as const;
/** Mostly files at the end of paths, so that what is asked for is mostly there. */
const changed = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...paths.filter((path) => path.endsWith('/c'))) },
  { weight: 1, arbitrary: fc.constantFrom(...paths) },
);
const change: fc.Arbitrary<TreeChange> = fc
  .record({ path: changed, mode: fc.constantFrom(...modes), content: fc.nat(2) })
  .map(({ path, mode, content }) => ({
    path,
    mode,
    content: mode === '160000' ? String(content + 1).repeat(40) : `content ${content}`,
  }));
/** What all histories begin with. */
const begin = filesOf(Object.fromEntries(paths.filter((path) => path.endsWith('/c')).map((path) => [path, path])));
// Few changes, of which many are undone by later ones, so that often the same is there again.
const histories = fc.array(fc.array(change, { maxLength: 2 }), { minLength: 12, maxLength: 24, size: 'max' });
const asked = fc
  .subarray(['.', ...paths], { minLength: 1, maxLength: 3 })
  .filter((those) =>
    those.every((one) =>
      those.every((other) => one === other || !(other === '.' || `${one}/`.startsWith(`${other}/`))),
    ),
  );

/** What git says: of each commit the object at each path, of each pair whether `git diff --quiet` finds no difference. */
function ask(repository: TestRepository, objects: readonly string[], pairs: readonly string[]) {
  const run = (script: string, lines: readonly string[]) =>
    execFileSync('sh', ['-c', script], {
      cwd: repository.path,
      env: gitEnvironment(),
      input: `${lines.join('\n')}\n`,
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'ignore'],
      maxBuffer: 2 ** 28,
    })
      .replace(/\n$/, '')
      .split('\n');
  return {
    objects: run('while read -r one; do git rev-parse --verify --quiet "$one" || echo; done', objects),
    same: run(
      'while read -r a b paths; do eval "git --literal-pathspecs diff --quiet $a $b -- $paths" && echo same || echo other; done',
      pairs,
    ),
  };
}

const rounded = rounds(1, 250);
let compared = 0;
let alike = 0;

test('code is the same exactly where git finds no difference', async (t) => {
  const enough = () => compared >= 50 * rounded && alike >= 10 * rounded;
  const asGit = fc.asyncProperty(
    fc.noBias(histories),
    fc.array(asked, { minLength: 120, maxLength: 120, size: 'max' }),
    fc.nat(),
    async (history, those, seed) => {
      const repository = makeRepository({ bare: true });
      const repositories = await openRepositories({ r: { path: repository.path } });
      try {
        const commits = writeTrees(repository, [begin, ...history]);
        const cases = those.map((given, i) => ({
          given: given.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other))),
          one: commits[(seed + i * 7) % commits.length] as string,
          other: commits[(seed + i * 3 + 1) % commits.length] as string,
        }));
        const nameOf = (commit: string, path: string) => (path === '.' ? `${commit}^{tree}` : `${commit}:${path}`);
        const objects = cases.flatMap(({ given, one }) => given.map((path) => nameOf(one, path)));
        const pairs = cases.map(
          ({ given, one, other }) => `${one} ${other} ${given.map((path) => `'${path}'`).join(' ')}`,
        );
        const git = ask(repository, objects, pairs);
        let at = 0;
        for (const [i, { given, one, other }] of cases.entries()) {
          const [its, others] = (await Promise.all(
            [one, other].map((commit) => repositories.code('r', { commit, paths: given, checked: false })),
          )) as [CodeFound, CodeFound];
          const ids = git.objects.slice(at, at + given.length);
          at += given.length;
          if (its.kind === 'code') {
            if (its.entries.map(({ oid }) => oid).join() !== ids.join()) throw new Error(`${one} ${given}: ${ids}`);
          } else if (ids[its.place] !== '')
            throw new Error(`${one} ${given}: ${its.what}, but git has ${ids[its.place]}`);
          if (its.kind !== 'code' || others.kind !== 'code') continue;
          compared++;
          const same = codeDigest(its) === codeDigest(others);
          if (same) alike++;
          if (same !== (git.same[i] === 'same')) throw new Error(`${pairs[i]}: git says ${git.same[i]}`);
        }
      } finally {
        await repositories.close();
        repository.dispose();
      }
    },
  );
  const settings = { endOnFailure: true, includeErrorInReport: true };
  await fc.assert(asGit, { numRuns: rounded, ...settings });
  // Of few histories many paths may happen not to be there.
  for (let more = 20; more > 0 && !enough(); more--) await fc.assert(asGit, { numRuns: 1, ...settings });
  t.log(`${compared} pairs compared, ${alike} alike`);
  t.true(enough(), `${compared} pairs, ${alike} alike`);
});
