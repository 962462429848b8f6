import test from 'ava';
import fc from 'fast-check';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CandidateFacts, ReuseTerms } from '../../src/domain/reuse.js';
import { decideReuse } from '../../src/domain/rule-sets.js';
import { rounds } from '../support/rounds.js';
import { firstTerms, sound } from './candidates.js';

// Rules in the order of docs/architecture.md, each with what breaks it and no earlier one: of a candidate that breaks several, the first is told.

type Broken = { readonly fact?: Partial<CandidateFacts>; readonly terms?: Partial<ReuseTerms> };
type Cases = readonly (readonly [rule: keyof typeof Rule, broken: Broken])[];

const amd64 = { platform: 'linux/amd64', sandbox: '' };
const complete: CandidateFacts = {
  ...sound,
  requested: 5,
  dockerImageLocator: 'i',
  ranIn: { ...amd64, image: 'i' },
  ran: { worker: 'w', workerName: '', from: 1, until: 5_000 },
};
const { ran: _, ranIn: __, ...notRun } = complete;
const queued: CandidateFacts = { ...notRun, state: JobState.QUEUED, dockerImageLocator: '', output: '', log: '' };
const terms: ReuseTerms = {
  ...firstTerms,
  rules: 2,
  dockerImageLocator: 'i',
  imagesStated: true,
  noChecks: true,
  secrets: '',
};

const ofAll: Cases = [
  ['CODE_PATHS', { fact: { codePaths: '["p"]', codeDigest: 'd' } }],
  ['SCRIPT_VERSION', { fact: { scriptVersion: 'c2' } }],
  ['DOCKER_IMAGE_LOCATOR', { fact: { dockerImageLocator: 'x' } }],
  ['ARVADOS_SDK_VERSION', { terms: { arvadosSdkVersion: 'a' } }],
  ['CHECKOUT', { terms: { leaveSubmodules: false } }],
  ['PLATFORM', { terms: { platform: 'linux/arm64' } }],
  ['SECRETS', { fact: { secrets: 's@g' } }],
  ['SANDBOX', { fact: { ranIn: { ...amd64, image: '' } }, terms: { sandbox: 'bubblewrap' } }],
  ['INPUTS', { terms: { inputs: [{ pointer: '/x', hash: 'h', since: 1 }] } }],
  ['NONDETERMINISTIC', { fact: { nondeterministic: true } }],
  ['CHECK', { fact: { isCheck: true } }],
  ['DELETED', { fact: { deleted: true } }],
  ['EXCLUDED', { terms: { exclusion: () => 'it is wrong' } }],
];
// A job that failed is compared as one that is to run: STATE stands among the others of those.
const ofComplete: Cases = [
  ...ofAll,
  ['NO_OUTPUT', { fact: { output: '' } }],
  ['NO_LOG', { fact: { log: '' } }],
  ['RAN_ELSEWHERE', { fact: { ranIn: { ...amd64, image: 'other' } } }],
  ['OUTPUT_LOST', { fact: { losses: [{ from: 9, detail: 'it is lost' }] } }],
  ['SUPERSEDED', { terms: { supersede: true } }],
  ['TOO_OLD', { terms: { oldestResult: 6_000 } }],
];
const ofQueued: Cases = [
  ...ofAll,
  ['STATE', { fact: { state: JobState.CANCELLED } }],
  ['SUPERSEDED', { terms: { supersede: true } }],
  ['OWNER', { terms: { ownUnfinishedOnly: true } }],
  ['LABELS', { fact: { requiredLabels: '[["a","b"]]' } }],
  ['HEARTBEAT', { fact: { lastHeartbeat: 1 }, terms: { oldestHeartbeat: 2 } }],
];

function told(candidate: CandidateFacts, of: ReuseTerms, broken: readonly Broken[]): string | undefined {
  const fact = Object.assign({}, candidate, ...broken.map((one) => one.fact));
  const { verdicts } = decideReuse([fact], Object.assign({}, of, ...broken.map((one) => one.terms)));
  const rule = verdicts[0]?.ruledOut?.rule;
  return rule === undefined ? undefined : Rule[rule];
}

for (const [name, candidate, of, cases] of [
  ['complete', complete, terms, ofComplete],
  ['queued', queued, { ...terms, dockerImageLocator: '' }, ofQueued],
] as const) {
  test(`of a ${name} job that breaks several rules the first is told: each, every pair, and any`, (t) => {
    t.is(told(candidate, of, []), undefined, 'it is the answer');
    for (const [i, [first, one]] of cases.entries()) {
      t.is(told(candidate, of, [one]), first);
      for (const [second, other] of cases.slice(i + 1)) t.is(told(candidate, of, [other, one]), first, second);
    }
    fc.assert(
      fc.property(fc.subarray(cases as [...Cases], { minLength: 1 }), (some) => {
        // A later break may stand in the place of an earlier one of the same fact, of which the earlier rule is told all the same.
        const broken = some.map(([, one]) => one).reverse();
        t.is(told(candidate, of, broken), some[0]?.[0]);
      }),
      { numRuns: rounds(500, 10_000) },
    );
  });
}
