import test from 'ava';
import fc from 'fast-check';
import type { ChangedPath } from '../../../src/git/code/changed-paths.js';
import { countLines, lineCount } from '../../../src/git/code/count-lines.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { makeRepository } from '../../support/git-repository.js';
import { filesOf, type TreeChange, writeTrees } from '../../support/git-trees.js';
import { rounds } from '../../support/rounds.js';

const names = ['a', 'a.b', 'b', 'é'];
const paths = names.flatMap((one) => [one, ...names.flatMap((two) => [`${one}/${two}`, `${one}/${two}/c`])]);
const line = fc.constantFrom('one\n', 'two\n', 'three\n', '\n', 'four\n', 'last');
const content = fc.oneof(
  { weight: 12, arbitrary: fc.array(line, { maxLength: 30 }).map((lines) => lines.join('')) },
  { weight: 1, arbitrary: fc.constantFrom('\0binary\n', 'text\0') },
);
const change: fc.Arbitrary<TreeChange> = fc.record({
  path: fc.constantFrom(...paths),
  mode: fc.constantFrom('100644', '100644', '100644', '100755', '120000', 'D'),
  content,
});
const begin = filesOf(Object.fromEntries(paths.filter((path) => path.endsWith('/c')).map((path) => [path, path])));
const histories = fc.array(fc.array(change, { minLength: 1, maxLength: 4 }), {
  minLength: 10,
  maxLength: 14,
  size: 'max',
});
const asked = fc.constantFrom(['.'], ['a'], ['a.b', 'b'], ['a/b', 'é/a.b/c'], ['b/a/c']);

const whole = [0, 1, 2, 3, 4].map(() => ['.']);

const signal = new AbortController().signal;

function numstat({ path, lines }: ChangedPath): string {
  return `${lines ? `${lines.added}\t${lines.removed}` : '-\t-'}\t${path}`;
}

test('the paths that differ, and their lines, are those of git diff', async (t) => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(fc.noBias(histories), fc.array(asked, { minLength: 4, maxLength: 4 }), async (history, those) => {
      const repository = makeRepository({ bare: true });
      const repositories = await openRepositories({ r: { path: repository.path } });
      try {
        const commits = writeTrees(repository, [begin, ...history]);
        for (const [i, wanted] of [...whole, ...those].entries()) {
          const [one, other] = [commits[i], commits[(i * 5 + 3) % commits.length]] as [string, string];
          const { changed, truncated } = await repositories.changes(
            'r',
            { one, other, paths: wanted, most: 1_000 },
            signal,
          );
          const flags = ['--numstat', '--minimal', '--no-renames', '-z'];
          const git = repository.git('--literal-pathspecs', 'diff', ...flags, one, other, '--', ...wanted);
          const right = git.split('\0').filter((text) => text.trim() !== '');
          compared += right.length;
          if (JSON.stringify(changed.map(numstat).sort()) !== JSON.stringify(right.sort()) || truncated) {
            throw new Error(
              `${one} ${other} ${wanted}: ${JSON.stringify(changed.map(numstat))}, git: ${JSON.stringify(right)}`,
            );
          }
          const few = await repositories.changes('r', { one, other, paths: wanted, most: 1 }, signal);
          t.is(few.changed.length, Math.min(1, changed.length));
          t.is(few.truncated, changed.length > 1);
        }
      } finally {
        await repositories.close();
        repository.dispose();
      }
    }),
    { numRuns: rounds(2, 200), endOnFailure: true },
  );
  t.true(compared > 30, `${compared} paths`);
});

test('what has no lines is told apart, and what is not there any more', async (t) => {
  const repository = makeRepository();
  t.teardown(() => repository.dispose());
  const first = repository.commit({ 'large.txt': 'x\n'.repeat(600_000), 'run.sh': 'a\n', 'gone.txt': 'b\n' });
  const second = repository.commit({ 'large.txt': 'y\n'.repeat(600_000), 'run.sh': 'a\nb\n', 'gone.txt': 'c\n' });
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  const oid = repository.git('rev-parse', `${second}:gone.txt`).trim();
  repository.git('prune-packed');
  const { rmSync } = await import('node:fs');
  rmSync(`${repository.path}/.git/objects/${oid.slice(0, 2)}/${oid.slice(2)}`, { force: true });
  const { changed } = await repositories.changes('r', { one: first, other: second, paths: ['.'], most: 10 }, signal);
  t.deepEqual(
    changed.map(({ path, lines, without }) => [path, lines ?? without]),
    [
      ['gone.txt', 'unread'],
      ['large.txt', 'large'],
      ['run.sh', { added: 1, removed: 0 }],
    ],
  );
  const unknown = 'f'.repeat(40);
  const query = { one: first, other: unknown, paths: ['.'], most: 10 };
  await t.throwsAsync(repositories.changes('r', query, signal), { message: new RegExp(unknown) });
});

test('of what changed its mode alone no line changed, if it has any', async (t) => {
  const repository = makeRepository({ bare: true });
  t.teardown(() => repository.dispose());
  const both = (mode: '100644' | '100755'): TreeChange[] => [
    { path: 'binary', mode, content: '\0x' },
    { path: 'text', mode, content: 'x\n' },
  ];
  const [one, other] = writeTrees(repository, [both('100644'), both('100755')]) as [string, string];
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  const { changed } = await repositories.changes('r', { one, other, paths: ['.'], most: 10 }, signal);
  t.deepEqual(changed.map(numstat), ['-\t-\tbinary', '0\t0\ttext']);
  t.is(repository.git('diff', '--numstat', one, other).trim(), '-\t-\tbinary\n0\t0\ttext');
});

test('lines are counted by the shortest way, and not where that is long', (t) => {
  const run = (one: string, other: string) => {
    const steps = countLines(Buffer.from(one), Buffer.from(other));
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
    }
  };
  const text = fc.array(fc.constantFrom('a\n', 'b\n', 'c\n'), { maxLength: 14 }).map((lines) => lines.join(''));
  fc.assert(
    fc.property(text, text, (one, other) => {
      const [a, b] = [one.split('\n').slice(0, -1), other.split('\n').slice(0, -1)];
      // The longest common subsequence, by the table of the textbook.
      const table = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
      for (let i = 1; i <= a.length; i++) {
        for (let j = 1; j <= b.length; j++) {
          const row = table[i] as number[];
          const above = table[i - 1] as number[];
          row[j] =
            a[i - 1] === b[j - 1] ? (above[j - 1] as number) + 1 : Math.max(above[j] as number, row[j - 1] as number);
        }
      }
      const common = table.at(-1)?.at(-1) ?? 0;
      t.deepEqual(run(one, other), { added: b.length - common, removed: a.length - common });
    }),
    { numRuns: rounds(200, 2_000) },
  );
  const numbered = (from: number) => Array.from({ length: 3_000 }, (_, n) => `${from + n}\n`).join('');
  t.is(run(numbered(0), numbered(10_000)), undefined);
  t.deepEqual(
    ['', 'a', 'a\n', 'a\nb', '\n\n'].map((one) => lineCount(Buffer.from(one))),
    [0, 1, 1, 2, 2],
  );
});
