import test from 'ava';
import fc from 'fast-check';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Loss } from '../../src/domain/outputs/losses.js';
import type { CandidateFacts, ReuseTerms } from '../../src/domain/reuse.js';
import { decideReuse, funnelOf } from '../../src/domain/rule-sets.js';
import { rounds } from '../support/rounds.js';
import { anyCommit, firstTerms, sound } from './candidates.js';

const terms: ReuseTerms = { ...firstTerms, ...anyCommit, rules: 2 };

/** A complete job that was requested at a position and gave an output, which was lost from and until some positions. */
function job(
  requested: number,
  output: string,
  ...lost: readonly (readonly [from: number, until?: number])[]
): CandidateFacts {
  const losses = lost.map(([from, until]): Loss => ({ from, ...(until !== undefined && { until }), detail: 'lost' }));
  return {
    ...sound,
    uuid: `at${requested}`,
    requested,
    ...(losses.length > 0 && { losses }),
    output,
  };
}
const running = (requested: number): CandidateFacts => ({ ...job(requested, ''), state: JobState.RUNNING });

function conclude(candidates: readonly CandidateFacts[], changed: Partial<ReuseTerms> = {}) {
  const { chosen, verdicts } = decideReuse(candidates, { ...terms, ...changed });
  const rules = verdicts.map(({ ruledOut }) => (ruledOut ? Rule[ruledOut.rule] : ''));
  return [chosen?.uuid, ...rules];
}

test('what is lost is no answer, and who was requested since stands in its place for good', (t) => {
  const cases: [what: string, candidates: CandidateFacts[], concluded: (string | undefined)[]][] = [
    ['lost', [job(1, 'x', [5])], [undefined, 'OUTPUT_LOST']],
    ['found again', [job(1, 'x', [5, 7])], ['at1', '']],
    ['lost twice', [job(1, 'x', [5, 7], [9])], [undefined, 'OUTPUT_LOST']],
    ['a rerun that runs', [job(1, 'x', [5]), running(6)], ['at6', 'OUTPUT_LOST', '']],
    ['a rerun that gave other bytes', [job(1, 'x', [5]), job(6, 'y')], ['at6', 'OUTPUT_LOST', '']],
    ['the old one comes back', [job(1, 'x', [5, 8]), job(6, 'y')], ['at6', 'NOT_PREFERRED', '']],
    ['it comes back while the rerun runs', [job(1, 'x', [5, 8]), running(6)], ['at6', 'NOT_PREFERRED', '']],
    ['the rerun gave the same bytes', [job(1, 'x', [5, 8]), job(6, 'x', [5, 8])], ['at6', 'NOT_PREFERRED', '']],
    [
      'two reruns did',
      [job(1, 'x', [5, 8]), job(6, 'x', [5, 8]), job(7, 'x', [5, 8])],
      ['at6', 'NOT_PREFERRED', '', 'NOT_PREFERRED'],
    ],
    // Retention forgets no nondeterminism.
    ['two differed, one is lost', [job(1, 'x', [5]), job(2, 'y')], [undefined, 'OUTPUT_LOST', 'OUTPUTS_DIFFER']],
    ['the other one is', [job(1, 'x'), job(2, 'y', [5])], [undefined, 'OUTPUTS_DIFFER', 'OUTPUT_LOST']],
    [
      'and one was asked for since, outright',
      [job(1, 'x', [5]), job(2, 'y'), job(6, 'y')],
      [undefined, 'OUTPUT_LOST', 'OUTPUTS_DIFFER', 'OUTPUTS_DIFFER'],
    ],
    [
      'and the lost one came back',
      [job(1, 'x', [5, 8]), job(2, 'y'), job(6, 'y')],
      [undefined, 'OUTPUTS_DIFFER', 'OUTPUTS_DIFFER', 'OUTPUTS_DIFFER'],
    ],
    ['both are lost', [job(1, 'x', [5]), job(2, 'y', [5])], [undefined, 'OUTPUT_LOST', 'OUTPUT_LOST']],
    ['and made anew', [job(1, 'x', [5]), job(2, 'y', [5]), job(6, 'z')], ['at6', 'OUTPUT_LOST', 'OUTPUT_LOST', '']],
    [
      'the same output is no difference',
      [job(1, 'x', [5]), job(2, 'x', [5]), running(6)],
      ['at6', 'OUTPUT_LOST', 'OUTPUT_LOST', ''],
    ],
    [
      'a difference from before the loss ends',
      [job(1, 'x', [5, 8]), job(9, 'y')],
      [undefined, 'OUTPUTS_DIFFER', 'OUTPUTS_DIFFER'],
    ],
    // What stands in its place was lost itself, and gave other bytes, which others were answered with.
    ['the rerun is lost', [job(1, 'x', [5, 8]), job(6, 'y', [9])], [undefined, 'NOT_PREFERRED', 'OUTPUT_LOST']],
    ['an earlier rule comes first', [{ ...job(1, 'x', [5]), deleted: true }, job(2, 'y')], ['at2', 'DELETED', '']],
    ['so does that there is none', [job(1, '', [5])], [undefined, 'NO_OUTPUT']],
  ];
  for (const [what, candidates, concluded] of cases) t.deepEqual(conclude(candidates), concluded, what);
  t.deepEqual(conclude([job(1, 'x', [5]), job(2, 'y')], { reuseIfOutputsDiffer: true }), ['at2', 'OUTPUT_LOST', '']);
  // Set 1 does not know of it.
  t.deepEqual(conclude([job(1, 'x', [5])], { rules: 1 }), ['at1', '']);
});

test('the funnel counts what is lost behind what has no log', (t) => {
  const decision = decideReuse([job(1, 'x', [5]), { ...job(2, 'x'), log: '' }, job(3, 'x')], terms);
  t.deepEqual(
    funnelOf(decision).map(({ rule, ruledOut, left }) => [Rule[rule], ruledOut, left]),
    [
      ['NO_LOG', 1, 2],
      ['OUTPUT_LOST', 1, 1],
    ],
  );
});

test('among jobs of which nothing was lost the answer is what it was; none is ever lost', (t) => {
  const loss = fc.tuple(
    fc.integer({ min: 10, max: 50 }),
    fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  );
  const facts = fc.record({ output: fc.constantFrom('x', 'y'), losses: fc.array(loss, { maxLength: 2 }) });
  fc.assert(
    fc.property(fc.array(facts, { maxLength: 8 }), (given) => {
      const candidates = given.map(({ output, losses }, i) =>
        job(
          i * 7,
          output,
          ...losses.map(([from, length]) => (length ? ([from, from + length] as const) : ([from] as const))),
        ),
      );
      const { chosen, verdicts } = decideReuse(candidates, terms);
      if (chosen) t.true((chosen.losses ?? []).every(({ until }) => until !== undefined));
      t.is(verdicts.filter(({ ruledOut }) => !ruledOut).length, chosen ? 1 : 0);
      // Where nothing was lost, positions and times of losses do not matter.
      const bare = candidates.map(({ losses: _, requested: __, ...rest }) => rest);
      const whole = candidates.map(({ losses: _, ...rest }) => rest);
      t.deepEqual(conclude(whole), conclude(bare));
      // Whoever gave something else before a loss keeps the answer from being taken.
      if (chosen && candidates.every(({ losses }) => losses === undefined)) {
        t.true(candidates.every(({ output }) => output === chosen.output));
      }
    }),
    { numRuns: rounds(200) },
  );
});
