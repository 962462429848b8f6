import test from 'ava';
import fc from 'fast-check';
import { DifferenceCause } from '../../../gen/memoir/jobs/v1/check_pb.js';
import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type Excerpt, isReordered, likelyCause } from '../../../src/domain/checks/likely-cause.js';
import type { CandidateFacts, ReuseTerms } from '../../../src/domain/reuse.js';
import { decideReuse, usedRules } from '../../../src/domain/rule-sets.js';
import { anyCommit, firstTerms, sound } from '../candidates.js';

/** Two files around their first difference. */
function excerpts(one: string, other: string): [Excerpt, Excerpt] {
  const [a, b] = [one, other].map((text) => Buffer.from(text, 'latin1')) as [Buffer, Buffer];
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return [
    { bytes: a, at, offset: 0 },
    { bytes: b, at, offset: 0 },
  ];
}

test('times and paths are told from each other and from all else, by the line in which the first difference is', (t) => {
  const { TIME, PATH, UNSPECIFIED } = DifferenceCause;
  const gzip = (mtime: string) => `\x1f\x8b\x08\x00${mtime}\x00\x03rest`;
  const cases: [one: string, other: string, cause: DifferenceCause][] = [
    ['made 2026-01-31T10:00:00Z', 'made 2026-01-31T10:00:01Z', TIME],
    ['x\ndate: 2026-01-31 10:00\n', 'x\ndate: 2026-02-01 10:00\n', TIME],
    ['Sat Jan 31 10:00:00 UTC 2026', 'Sun Feb  1 10:00:00 UTC 2026', TIME],
    ['t=1769853600', 't=1769853601', TIME],
    ['t=1769853600123456789', 't=1769853600987654321', TIME],
    ['took 1.25 s', 'took 1.31 s', TIME],
    ['10:00:00', '10:00:07', TIME],
    [gzip('\x01\x02\x03\x04'), gzip('\x01\x02\x03\x05'), TIME],
    ['PK\x03\x04\x14\x00\x00\x00\x08\x00\x01\x02rest', 'PK\x03\x04\x14\x00\x00\x00\x08\x00\x01\x03rest', TIME],
    ['in "/tmp/memoir-a/out"', 'in "/tmp/memoir-b/out"', PATH],
    ['/tmp/run-1769853600/x', '/tmp/run-1769853601/x', PATH],
    ['/tmp/memoir-a', '/tmp/memoir-abc', PATH],
    ['0.123456', '0.123457', UNSPECIFIED],
    ['seed 17', 'seed 18', UNSPECIFIED],
    ['1/2', '1/3', UNSPECIFIED],
    ['https://example.org/a', 'https://example.org/b', UNSPECIFIED],
    // The time stands in both lines, and is not what differs.
    ['2026-01-31 and then a', '2026-01-31 and then b', UNSPECIFIED],
    ['2026-01-31\na', '2026-01-31\nb', UNSPECIFIED],
    ['', 'a', UNSPECIFIED],
    ['\n', '\n\n', UNSPECIFIED],
  ];
  for (const [one, other, cause] of cases) {
    const [a, b] = excerpts(one, other);
    t.is(likelyCause(a, b), cause, JSON.stringify([one, other]));
    t.is(likelyCause(b, a), cause, JSON.stringify([other, one]));
  }
});

test('any order of the same lines is told, and nothing else', (t) => {
  const lines = fc.uniqueArray(fc.stringMatching(/^[a-z]{0,4}$/), { minLength: 3, maxLength: 8 });
  fc.assert(
    fc.property(
      lines.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([all, shuffled]) => isReordered(Buffer.from(all.join('\n')), Buffer.from(shuffled.join('\n'))),
    ),
  );
  fc.assert(
    fc.property(lines, (all) => {
      const changed = [`${all[0]?.slice(1)}0`, ...all.slice(1)].join('\n').padEnd(all.join('\n').length, '0');
      return !isReordered(Buffer.from(all.join('\n')), Buffer.from(changed));
    }),
  );
  t.false(isReordered(Buffer.from('a\nb'), Buffer.from('b\na')), 'two lines are no order');
});

test('what runs another again to compare is no answer, and no difference; without the rule it was as any other', (t) => {
  const job: CandidateFacts = { ...sound, uuid: 'one', owner: 'ada' };
  const terms: ReuseTerms = { ...firstTerms, ...anyCommit, rules: usedRules, principal: 'ada' };
  const check = { ...job, uuid: 'two', output: 'o2', isCheck: true };
  for (const state of [JobState.QUEUED, JobState.RUNNING, JobState.COMPLETE, JobState.FAILED]) {
    const { chosen, verdicts } = decideReuse([job, { ...check, state }], { ...terms, noChecks: true });
    t.is(chosen, job);
    t.is(verdicts[1]?.ruledOut?.rule, Rule.CHECK);
  }
  // What comes before it, and what behind.
  const rules = [{ nondeterministic: true }, { deleted: true }, {}].map(
    (more) => decideReuse([{ ...check, ...more }], { ...terms, noChecks: true }).verdicts[0]?.ruledOut?.rule,
  );
  t.deepEqual(rules, [Rule.NONDETERMINISTIC, Rule.CHECK, Rule.CHECK]);
  t.is(decideReuse([job, check], terms).verdicts[0]?.ruledOut?.rule, Rule.OUTPUTS_DIFFER);
});
