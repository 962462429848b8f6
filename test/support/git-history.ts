import fc from 'fast-check';
import type { TestRepository } from './git-repository.js';

/** A commit of a generated history: which earlier commits are its parents, and its time in seconds. */
export type GeneratedCommit = { readonly parents: readonly number[]; readonly date: number };

const kinds = [
  'root',
  'linear',
  'linear',
  'linear',
  'branch',
  'branch',
  'merge',
  'merge',
  'criss-cross',
  'octopus',
] as const;

const dates = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1_600_000_000, max: 1_600_000_020 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 2_000_000_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 4_000_000_000, 2 ** 33) },
);

/**
 * Histories of every shape: long lines, parallel branches, merges, criss-cross merges, octopus merges, several roots, and
 * clocks that were equal or wrong.
 */
export function histories(maxCommits: number, minCommits = 1): fc.Arbitrary<GeneratedCommit[]> {
  const step = fc.record({
    kind: fc.constantFrom(...kinds),
    picks: fc.array(fc.nat(1_000), { minLength: 5, maxLength: 5 }),
    date: dates,
  });
  return fc
    .array(step, { minLength: minCommits, maxLength: maxCommits, size: 'max' })
    .map((steps) => steps.map(({ kind, picks, date }, number) => ({ parents: parentsFor(kind, picks, number), date })));
}

function parentsFor(kind: (typeof kinds)[number], picks: readonly number[], number: number): number[] {
  if (number === 0 || (kind === 'root' && (picks[0] ?? 0) % 3 === 0)) return [];
  const any = picks.map((pick) => pick % number);
  const near = picks.map((pick) => number - 1 - (pick % Math.min(number, 3)));
  const wanted = {
    root: [number - 1],
    linear: [number - 1],
    branch: any.slice(0, 1),
    merge: [number - 1, ...any.slice(0, 1)],
    'criss-cross': near.slice(0, 2),
    octopus: any,
  }[kind];
  return [...new Set(wanted)];
}

/**
 * Writes the commits from `from` on into a repository by `git fast-import`, commit n as branch `c<n>`, and gives the ids of all
 * branches written so far in order of n.
 */
export function writeHistory(repository: TestRepository, history: readonly GeneratedCommit[], from = 0): string[] {
  const lines = history.slice(from).map(({ parents, date }, i) => {
    const number = from + i;
    const [first, ...others] = parents.map((parent) => (parent >= from ? `:${parent + 1}` : `refs/heads/c${parent}^0`));
    const message = `Commit ${number}`;
    return [
      `commit refs/heads/c${number}`,
      `mark :${number + 1}`,
      `committer Ada Example <ada@example.com> ${date} +0000`,
      `data ${message.length}\n${message}`,
      ...(first ? [`from ${first}`] : []),
      ...others.map((other) => `merge ${other}`),
      '',
    ].join('\n');
  });
  repository.gitWithInput(lines.join('\n'), 'fast-import', '--quiet');
  const ids: string[] = [];
  for (const line of repository
    .git('for-each-ref', '--format=%(refname:lstrip=2) %(objectname)', 'refs/heads/c*')
    .split('\n')) {
    const [name = '', id = ''] = line.split(' ');
    ids[Number(name.slice(1))] = id;
  }
  return ids;
}
