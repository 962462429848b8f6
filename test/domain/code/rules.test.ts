import test from 'ava';
import fc from 'fast-check';
import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { isByCodeAlone } from '../../../src/domain/code/rules.js';
import type { CandidateFacts, ReuseTerms } from '../../../src/domain/reuse.js';
import { decideReuse } from '../../../src/domain/rule-sets.js';
import { rounds } from '../../support/rounds.js';
import { firstTerms, sound } from '../candidates.js';

const whole: ReuseTerms = { ...firstTerms, rules: 2 };
const [lib, all] = ['["lib"]', '["."]'];
const part: ReuseTerms = { ...whole, codePaths: lib, codeDigest: 'd1' };

test('who saw another part is no answer; of those who saw the same, the same code is, whatever the commit', (t) => {
  const its = (scriptVersion: string, codeDigest: string, codePaths = lib) => ({
    scriptVersion,
    codeDigest,
    codePaths,
  });
  const range = { ...part, acceptsCommit: (commit: string) => commit < 'c3' };
  const cases: [facts: Partial<CandidateFacts>, asked: ReuseTerms, rule: string | undefined, detail?: RegExp][] = [
    [{}, whole, undefined],
    [{}, part, 'CODE_PATHS', /^it sees the whole commit, the request \["lib"\]$/],
    [its('c1', 'd1'), whole, 'CODE_PATHS', /^it sees \["lib"\], the request the whole commit$/],
    [its('c1', 'd1', all), part, 'CODE_PATHS'],
    [its('c1', 'd1', all), whole, 'CODE_PATHS'],
    [its('c1', 'd1'), part, undefined],
    [its('c2', 'd1'), part, undefined],
    [its('c2', 'd1', all), { ...part, codePaths: all }, undefined],
    [its('c2', 'd2'), part, 'SCRIPT_VERSION', /^its script_version is c2 with code d2, accepted is c1, or code d1$/],
    // With a range its commits are accepted too, and others with the same code.
    [its('c2', 'd2'), range, undefined],
    [its('c9', 'd1'), range, undefined],
    [its('c9', 'd2'), range, 'SCRIPT_VERSION'],
    // What is excluded is so by its code, in every commit that has it.
    [
      its('c2', 'd2'),
      { ...range, excludedCode: new Set(['d2']) },
      'SCRIPT_VERSION',
      /code d2 is that of a commit that the request excludes/,
    ],
    [its('c9', 'd1'), { ...range, excludedCode: new Set(['d1']) }, 'SCRIPT_VERSION'],
    [its('c1', 'd1'), { ...range, excludedCode: new Set(['d2']) }, undefined],
    // It comes before all others.
    [{ ...its('c1', 'd1'), nondeterministic: true, deleted: true }, whole, 'CODE_PATHS'],
    [its('c1', 'd1'), { ...whole, failedFilter: () => 'it does not match' }, 'CODE_PATHS'],
    [its('c1', 'd1'), { ...part, failedFilter: () => 'it does not match' }, 'FILTER'],
    // With filters nothing is said of commits but by them.
    [its('c9', 'd9'), { ...part, failedFilter: () => undefined }, undefined],
  ];
  for (const rules of [1, 2]) {
    for (const [facts, asked, rule, detail] of cases) {
      const [verdict] = decideReuse([{ ...sound, ...facts }], { ...asked, rules }).verdicts;
      t.is(verdict?.ruledOut && Rule[verdict.ruledOut.rule], rule, JSON.stringify([facts, asked]));
      if (detail) t.regex(verdict?.ruledOut?.detail ?? '', detail);
    }
  }
  t.true(isByCodeAlone(its('c2', 'd1'), part));
  t.false(isByCodeAlone(its('c1', 'd1'), part));
  t.false(isByCodeAlone({ scriptVersion: 'c2' }, whole));
});

/** Which jobs may be the answer, as the design says it of one with an exclusion of some commits, with no regard to cost. */
function acceptable(
  { scriptVersion, codePaths = '', codeDigest = '', deleted }: CandidateFacts,
  asked: { commit: string; range: string[]; excludes: string[]; codePaths: string; standing: string[] },
  codeOf: (commit: string) => string,
): boolean {
  if (codePaths !== asked.codePaths || deleted) return false;
  const byCommit = asked.range.includes(scriptVersion) && !asked.excludes.includes(scriptVersion);
  if (codePaths === '') return byCommit && !asked.standing.includes(scriptVersion);
  if (asked.excludes.some((commit) => codeOf(commit) === codeDigest)) return false;
  if (asked.standing.includes(scriptVersion)) return false;
  if (byCommit) return true;
  return codeDigest === codeOf(asked.commit) && !asked.standing.includes(asked.commit);
}

test('the rules on code are those of the design written plainly', (t) => {
  const commits = ['c1', 'c2', 'c3', 'c4', 'c5'];
  const commit = fc.constantFrom(...commits);
  const someCommits = fc.uniqueArray(commit, { maxLength: 2 });
  const paths = fc.constantFrom('', lib, all);
  const scene = fc.record({
    // Commits of which several have the same code.
    codes: fc.array(fc.constantFrom('d1', 'd2'), { minLength: 5, maxLength: 5 }),
    asked: fc.record({ commit, range: someCommits, excludes: someCommits, standing: someCommits, codePaths: paths }),
    jobs: fc.array(fc.record({ commit, codePaths: paths, deleted: fc.boolean() }), { maxLength: 6 }),
  });
  let reused = 0;
  fc.assert(
    fc.property(scene, ({ codes, asked, jobs }) => {
      const codeOf = (one: string) => codes[commits.indexOf(one)] as string;
      const range = asked.range.length === 0 ? [asked.commit] : asked.range;
      const candidates = jobs.map(
        (job, i): CandidateFacts => ({
          ...sound,
          uuid: `u${i}`,
          scriptVersion: job.commit,
          deleted: job.deleted,
          ...(job.codePaths !== '' && { codePaths: job.codePaths, codeDigest: codeOf(job.commit) }),
        }),
      );
      const terms: ReuseTerms = {
        ...whole,
        acceptsCommit: (one) => range.includes(one) && !asked.excludes.includes(one),
        ...(asked.codePaths !== '' && {
          codePaths: asked.codePaths,
          codeDigest: codeOf(asked.commit),
          excludedCode: new Set(asked.excludes.map(codeOf)),
        }),
        exclusion: (candidate) =>
          asked.standing.includes(candidate.scriptVersion) ||
          (isByCodeAlone(candidate, terms) && asked.standing.includes(asked.commit))
            ? 'excluded'
            : undefined,
      };
      const { chosen, verdicts } = decideReuse(candidates, terms);
      const expected = candidates.filter((one) => acceptable(one, { ...asked, range }, codeOf));
      t.is(chosen?.uuid, expected[0]?.uuid);
      const left = verdicts.filter(({ ruledOut }) => !ruledOut || ruledOut.rule === Rule.NOT_PREFERRED);
      t.deepEqual(
        left.map(({ candidate }) => candidate.uuid),
        expected.map(({ uuid }) => uuid),
      );
      if (chosen?.codePaths && chosen.scriptVersion !== asked.commit) reused++;
    }),
    { numRuns: rounds(1_000, 20_000) },
  );
  t.true(reused > 20, `${reused} by another commit`);
});
