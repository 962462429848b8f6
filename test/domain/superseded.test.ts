import test from 'ava';
import fc from 'fast-check';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CandidateFacts, ReuseTerms } from '../../src/domain/reuse.js';
import { decideReuse, funnelOf } from '../../src/domain/rule-sets.js';
import { rounds } from '../support/rounds.js';
import { anyCommit, firstTerms, sound } from './candidates.js';

const terms: ReuseTerms = { ...firstTerms, ...anyCommit, rules: 2 };

/** A complete job that gave an output. */
function job(output: string, more: Partial<CandidateFacts> = {}): CandidateFacts {
  return { ...sound, output, ...more };
}
const over = (output: string, more: Partial<CandidateFacts> = {}) => job(output, { supersedes: true, ...more });
const unfinished = (more: Partial<CandidateFacts> = {}, state = JobState.RUNNING) =>
  job('', { log: '', state, ...more });

/** What is concluded of candidates that are named by their places, from 1: the answer, and the rule for each. */
function conclude(candidates: readonly CandidateFacts[], changed: Partial<ReuseTerms> = {}) {
  const named = candidates.map((candidate, i) => ({ ...candidate, uuid: `u${i + 1}` }));
  const { chosen, verdicts } = decideReuse(named, { ...terms, ...changed });
  return [chosen?.uuid, ...verdicts.map(({ ruledOut }) => (ruledOut ? Rule[ruledOut.rule] : ''))];
}

const lost = { losses: [{ from: 5, detail: 'lost' }] };

test('a complete run that was asked for in the place of earlier ones is the answer, as long as nothing else rules it out', (t) => {
  const cases: [what: string, candidates: CandidateFacts[], concluded: (string | undefined)[]][] = [
    ['the superseder is complete', [job('x'), over('y')], ['u2', 'SUPERSEDED', '']],
    ['it gave the same', [job('x'), over('x')], ['u2', 'SUPERSEDED', '']],
    ['it runs', [job('x'), unfinished({ supersedes: true })], ['u1', '', 'NOT_PREFERRED']],
    ['it failed', [job('x'), over('', { state: JobState.FAILED })], ['u1', '', 'STATE']],
    ['it was deleted: the earlier is back', [job('x'), over('y', { deleted: true })], ['u1', '', 'DELETED']],
    ['its output is lost', [job('x'), over('y', lost)], ['u1', '', 'OUTPUT_LOST']],
    ['it has no log', [job('x'), over('y', { log: '' })], ['u1', '', 'NO_LOG']],
    [
      'two that differ, and one in their place',
      [job('x'), job('y'), over('z')],
      ['u3', 'SUPERSEDED', 'SUPERSEDED', ''],
    ],
    ['a later one differs', [over('y'), job('x')], [undefined, 'OUTPUTS_DIFFER', 'OUTPUTS_DIFFER']],
    [
      'the second stands in the place of the first',
      [job('x'), over('y'), over('z')],
      ['u3', 'SUPERSEDED', 'SUPERSEDED', ''],
    ],
    ['the second is gone', [job('x'), over('y'), over('z', { deleted: true })], ['u2', 'SUPERSEDED', '', 'DELETED']],
    ['another commit', [job('x', { scriptVersion: 'c2' }), over('x')], ['u1', '', 'NOT_PREFERRED']],
    ['another SDK', [job('x', { arvadosSdkVersion: 'a' }), over('x')], ['u1', '', 'NOT_PREFERRED']],
    [
      'another computation',
      [job('x', { computation: 'a' }), over('x', { computation: 'b' })],
      ['u1', '', 'NOT_PREFERRED'],
    ],
    ['the earlier one runs still', [unfinished(), over('y')], ['u2', 'NOT_PREFERRED', '']],
    ['the earlier one is lost, and no difference', [job('x', lost), over('y')], ['u2', 'OUTPUT_LOST', '']],
    [
      'a lost superseder still differs from what came later',
      [job('x'), over('y', { ...lost, requested: 2 }), job('z', { requested: 3 })],
      [undefined, 'OUTPUTS_DIFFER', 'OUTPUT_LOST', 'OUTPUTS_DIFFER'],
    ],
  ];
  for (const [what, candidates, concluded] of cases) t.deepEqual(conclude(candidates), concluded, what);
  const code = { codePaths: 'p', codeDigest: 'd' };
  const byCode = [job('x', { ...code, scriptVersion: 'c1' }), over('y', { ...code, scriptVersion: 'c2' })];
  t.deepEqual(conclude(byCode, { ...code }), ['u2', 'SUPERSEDED', '']);
  const excluded = (candidate: CandidateFacts) => (candidate.uuid === 'u2' ? 'bad' : undefined);
  t.deepEqual(conclude([job('x'), over('y')], { exclusion: excluded }), ['u1', '', 'EXCLUDED']);
  const elsewhere = [job('x', { dockerImageLocator: 'i' }), over('y', { dockerImageLocator: 'i' })];
  const stated = { dockerImageLocator: 'i', imagesStated: true };
  t.deepEqual(conclude(elsewhere, stated), [undefined, 'RAN_ELSEWHERE', 'RAN_ELSEWHERE']);
  // Set 1 does not know of it.
  t.deepEqual(conclude([job('x'), over('x')], { rules: 1 }), ['u1', '', 'NOT_PREFERRED']);
});

test('a request that supersedes joins an unfinished run that does, and nothing else', (t) => {
  const supersede = { supersede: true };
  t.deepEqual(conclude([job('x'), over('y')], supersede), [undefined, 'SUPERSEDED', 'SUPERSEDED']);
  t.deepEqual(conclude([job('x'), unfinished()], supersede), [undefined, 'SUPERSEDED', 'SUPERSEDED']);
  const running = unfinished({ supersedes: true });
  t.deepEqual(conclude([job('x'), unfinished(), running], supersede), ['u3', 'SUPERSEDED', 'SUPERSEDED', '']);
  const queued = unfinished({ supersedes: true }, JobState.QUEUED);
  t.deepEqual(conclude([queued], supersede), ['u1', '']);
  t.deepEqual(conclude([unfinished({ supersedes: true, arvadosSdkVersion: 'a' })], supersede), [
    undefined,
    'SUPERSEDED',
  ]);
  t.deepEqual(conclude([job('', { log: '' })], supersede), [undefined, 'NO_OUTPUT'], 'earlier rules come first');
});

test('what completed longer ago than accepted is passed over, also what has no known end, but keeps its power over earlier runs', (t) => {
  const at = (until?: number) => ({
    ran: { worker: 'w', workerName: '', from: 0, ...(until !== undefined && { until }) },
  });
  const old = { oldestResult: 1_000 };
  t.deepEqual(conclude([job('x', at(999))], old), [undefined, 'TOO_OLD']);
  t.deepEqual(conclude([job('x', at(1_000))], old), ['u1', '']);
  t.deepEqual(conclude([job('x')], old), [undefined, 'TOO_OLD']);
  t.deepEqual(conclude([job('x')]), ['u1', '']);
  t.deepEqual(conclude([job('x', at(1)), job('y', at(2_000))], old), ['u2', 'TOO_OLD', ''], 'it is no difference');
  t.deepEqual(conclude([unfinished(at())], old), ['u1', ''], 'what runs is not old');
  t.deepEqual(conclude([job('x', at(2_000)), over('y', at(1))], old), [undefined, 'SUPERSEDED', 'TOO_OLD']);
  const { verdicts } = decideReuse([job('x', at(999))], { ...terms, ...old });
  t.is(
    verdicts[0]?.ruledOut?.detail,
    'it completed at 1970-01-01T00:00:00.999Z, accepted is 1970-01-01T00:00:01.000Z or later',
  );
});

test('the funnel counts both behind what is lost', (t) => {
  const decision = decideReuse(
    [job('x', lost), job('x'), over('x', { ran: { worker: 'w', workerName: '', from: 0, until: 5 } })],
    {
      ...terms,
      oldestResult: 6,
    },
  );
  t.deepEqual(
    funnelOf(decision).map(({ rule, ruledOut, left }) => [Rule[rule], ruledOut, left]),
    [
      ['OUTPUT_LOST', 1, 2],
      ['SUPERSEDED', 1, 1],
      ['TOO_OLD', 1, 0],
    ],
  );
});

const facts = fc.record({
  output: fc.constantFrom('x', 'y', ''),
  state: fc.constantFrom(JobState.COMPLETE, JobState.COMPLETE, JobState.RUNNING, JobState.QUEUED, JobState.FAILED),
  scriptVersion: fc.constantFrom('c1', 'c2'),
  dockerImageLocator: fc.constant(''),
  arvadosSdkVersion: fc.constantFrom('', '', 'a'),
  computation: fc.constantFrom('k1', 'k2'),
  supersedes: fc.boolean(),
  deleted: fc.integer({ max: 6, min: 0 }).map((n) => n === 0),
  until: fc.integer({ min: 0, max: 10 }),
  lost: fc.integer({ max: 6, min: 0 }).map((n) => n === 0),
});

test('both rules do what they say, by a reference that looks at all pairs', (t) => {
  let [superseded, old, joined] = [0, 0, 0];
  fc.assert(
    fc.property(
      fc.array(facts, { maxLength: 7 }),
      fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }),
      fc.boolean(),
      (all, oldestResult, supersede) => {
        const candidates = all.map(({ until, lost: isLost, ...fact }, i) => ({
          ...job(''),
          ...fact,
          uuid: `u${i}`,
          requested: i,
          ran: { worker: 'w', workerName: '', from: 0, until },
          ...(isLost && { losses: [{ from: 100, detail: 'lost' }] }),
        }));
        const asked = { ...terms, supersede, ...(oldestResult !== undefined && { oldestResult }) };
        const { chosen, verdicts } = decideReuse(candidates, asked);
        const sound = (c: (typeof candidates)[number]) =>
          !c.deleted && c.state === JobState.COMPLETE && c.output !== '' && !c.losses;
        for (const [i, one] of candidates.entries()) {
          const rule = verdicts[i]?.ruledOut?.rule;
          const later = candidates
            .slice(i + 1)
            .some(
              (other) =>
                other.supersedes &&
                sound(other) &&
                !supersede &&
                other.computation === one.computation &&
                other.scriptVersion === one.scriptVersion &&
                other.arvadosSdkVersion === one.arvadosSdkVersion,
            );
          const expected = supersede || later;
          if (sound(one)) t.is(rule === Rule.SUPERSEDED, expected, JSON.stringify([candidates, i]));
          const tooOld = oldestResult !== undefined && one.ran.until < oldestResult;
          if (sound(one) && !expected) t.is(rule === Rule.TOO_OLD, tooOld);
          if (rule === Rule.SUPERSEDED) superseded++;
          if (rule === Rule.TOO_OLD) old++;
        }
        if (supersede && chosen) {
          joined++;
          t.true(chosen.supersedes && chosen.arvadosSdkVersion === '' && chosen.state !== JobState.COMPLETE);
        }
        if (!supersede && chosen?.state === JobState.COMPLETE) t.true(sound(chosen));
      },
    ),
    { numRuns: rounds(2_000, 20_000) },
  );
  t.true(superseded > 0 && old > 0 && joined > 0);
});
