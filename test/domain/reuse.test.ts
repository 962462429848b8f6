import test from 'ava';
import fc from 'fast-check';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { emptyOutput } from '../../src/domain/empty-output.js';
import {
  decidingInputs,
  inputPointersOf,
  inputPointersText,
  lackedInput,
} from '../../src/domain/inputs/lacked-inputs.js';
import type { CandidateFacts, ReuseTerms } from '../../src/domain/reuse.js';
import { decideReuse, funnelOf, knowsRules, ruledOutByCheckoutAlone, usedRules } from '../../src/domain/rule-sets.js';
import { rounds } from '../support/rounds.js';
import { sound, firstTerms as terms } from './candidates.js';

const complete = (output = 'o1'): CandidateFacts => ({ ...sound, output });
const running = (owner = 'alice'): CandidateFacts => ({
  ...sound,
  state: JobState.RUNNING,
  owner,
  output: '',
  log: '',
});
const queued = (owner = 'alice'): CandidateFacts => ({ ...running(owner), state: JobState.QUEUED });
const failed: CandidateFacts = { ...sound, state: JobState.FAILED };

/** What is concluded of candidates that are named by their places: the answer, and the rule for each of the others. */
function conclude(candidates: readonly CandidateFacts[], changed: Partial<ReuseTerms> = {}) {
  const named = candidates.map((candidate, i) => ({ ...candidate, uuid: `u${i}` }));
  const { chosen, verdicts } = decideReuse(named, { ...terms, ...changed });
  return { chosen: chosen?.uuid, rules: verdicts.map(({ ruledOut }) => ruledOut && Rule[ruledOut.rule]), verdicts };
}

test('each rule rules out, and says the values', (t) => {
  const cases: [fact: Partial<CandidateFacts>, changed: Partial<ReuseTerms>, rule: string, detail: RegExp][] = [
    [{ scriptVersion: 'c2' }, {}, 'SCRIPT_VERSION', /is c2, accepted is c1/],
    [{ dockerImageLocator: 'd1' }, {}, 'DOCKER_IMAGE_LOCATOR', /is "d1", accepted is ""/],
    [{}, { dockerImageLocator: 'd1' }, 'DOCKER_IMAGE_LOCATOR', /is "", accepted is "d1"/],
    [{ arvadosSdkVersion: 'a1' }, { arvadosSdkVersion: 'a2' }, 'ARVADOS_SDK_VERSION', /is "a1", accepted is a2/],
    [{}, { arvadosSdkVersion: 'a2' }, 'ARVADOS_SDK_VERSION', /is "", accepted is a2/],
    [{ nondeterministic: true }, {}, 'NONDETERMINISTIC', /nondeterministic/],
    [{ deleted: true }, {}, 'DELETED', /deleted/],
    [{ state: JobState.FAILED }, {}, 'STATE', /is Failed/],
    [{ state: JobState.CANCELLED }, {}, 'STATE', /is Cancelled/],
    [{ state: JobState.RUNNING }, {}, 'OWNER', /is Running and belongs to "bob", not to "alice"/],
    [{ state: JobState.QUEUED, owner: 'a\n' }, {}, 'OWNER', /is Queued and belongs to "a\\n", not to "alice"/],
    [{ output: '' }, {}, 'NO_OUTPUT', /without an output/],
    [{ output: emptyOutput }, { outputRequired: true }, 'NO_OUTPUT', /output is empty, and the request requires one/],
    [{ output: 'o', outputV1: emptyOutput }, { outputRequired: true }, 'NO_OUTPUT', /output is empty/],
    [{ log: '' }, {}, 'NO_LOG', /without a log/],
  ];
  for (const [fact, changed, rule, detail] of cases) {
    const { chosen, rules, verdicts } = conclude([{ ...sound, ...fact }], changed);
    t.is(chosen, undefined, rule);
    t.deepEqual(rules, [rule]);
    t.regex(verdicts[0]?.ruledOut?.detail ?? '', detail);
  }
});

test('the first rule that applies is the one that is told', (t) => {
  // All wrong at once; then each in turn is put right, and the next shows.
  const wrong: CandidateFacts = {
    ...sound,
    scriptVersion: 'c2',
    dockerImageLocator: 'd1',
    arvadosSdkVersion: 'a1',
    nondeterministic: true,
    deleted: true,
    state: JobState.FAILED,
    output: '',
    log: '',
  };
  const repairs: [rule: string, repair: Partial<CandidateFacts>][] = [
    ['SCRIPT_VERSION', { scriptVersion: 'c1' }],
    ['DOCKER_IMAGE_LOCATOR', { dockerImageLocator: '' }],
    ['ARVADOS_SDK_VERSION', { arvadosSdkVersion: 'a2' }],
    ['NONDETERMINISTIC', { nondeterministic: false }],
    ['DELETED', { deleted: false }],
    ['STATE', { state: JobState.RUNNING }],
    ['OWNER', { state: JobState.COMPLETE }],
    ['NO_OUTPUT', { output: 'o' }],
    ['NO_LOG', { log: 'l' }],
  ];
  let candidate = wrong;
  for (const [rule, repair] of repairs) {
    t.deepEqual(conclude([candidate], { arvadosSdkVersion: 'a2' }).rules, [rule]);
    candidate = { ...candidate, ...repair };
  }
  t.is(conclude([candidate], { arvadosSdkVersion: 'a2' }).chosen, 'u0');
});

test('what does not matter does not matter', (t) => {
  t.is(conclude([{ ...sound, owner: 'eve' }]).chosen, 'u0', 'the owner of a complete job');
  t.is(conclude([{ ...sound, arvadosSdkVersion: 'a9' }]).chosen, 'u0', 'an SDK where none is asked for');
  t.is(conclude([]).chosen, undefined);
});

test('preference goes from the oldest complete job over running to queued ones', (t) => {
  const cases: [candidates: CandidateFacts[], chosen: number | undefined, rules: string][] = [
    [[complete(), complete()], 0, '- NOT_PREFERRED'],
    [[queued(), running(), complete()], 2, 'NOT_PREFERRED NOT_PREFERRED -'],
    [[queued(), running(), running()], 1, 'NOT_PREFERRED - NOT_PREFERRED'],
    [[queued(), queued()], 0, '- NOT_PREFERRED'],
    [[failed, { ...sound, output: '' }, complete('o2'), complete('o2')], 2, 'STATE NO_OUTPUT - NOT_PREFERRED'],
    [[complete('o1'), complete('o2')], undefined, 'OUTPUTS_DIFFER OUTPUTS_DIFFER'],
    [[complete('o1'), complete('o2'), queued()], 2, 'OUTPUTS_DIFFER OUTPUTS_DIFFER -'],
    [[complete('o1'), queued(), complete('o2'), running()], 3, 'OUTPUTS_DIFFER NOT_PREFERRED OUTPUTS_DIFFER -'],
    [[{ ...complete('o1'), deleted: true }, complete('o2')], 1, 'DELETED -'],
    [[{ ...complete('o1'), log: '' }, complete('o2'), complete('o2')], 1, 'NO_LOG - NOT_PREFERRED'],
    [[queued('bob'), running('bob')], undefined, 'OWNER OWNER'],
    // Outputs are the same if either address is.
    [[complete('m1'), { ...complete('t1'), outputV1: 'm1' }], 0, '- NOT_PREFERRED'],
    [
      [{ ...complete('t1'), outputV1: 'm1' }, complete('m1'), { ...complete('t2'), outputV1: 'm1' }],
      0,
      '- NOT_PREFERRED NOT_PREFERRED',
    ],
    [
      [
        { ...complete('t1'), outputV1: 'm1' },
        { ...complete('t2'), outputV1: 'm2' },
      ],
      undefined,
      'OUTPUTS_DIFFER OUTPUTS_DIFFER',
    ],
    [[complete('m1'), { ...complete('t1'), outputV1: 'm2' }], undefined, 'OUTPUTS_DIFFER OUTPUTS_DIFFER'],
  ];
  for (const [candidates, chosen, rules] of cases) {
    const found = conclude(candidates);
    t.is(found.chosen, chosen === undefined ? undefined : `u${chosen}`, rules);
    t.is(found.rules.map((rule) => rule ?? '-').join(' '), rules);
  }
});

test('a server may be told to reuse although outputs differ', (t) => {
  const found = conclude([failed, complete('o1'), complete('o2'), running()], { reuseIfOutputsDiffer: true });
  t.is(found.chosen, 'u1');
  t.deepEqual(found.rules, ['STATE', undefined, 'NOT_PREFERRED', 'NOT_PREFERRED']);
});

test('differing outputs are named, with the jobs that gave them', (t) => {
  const { verdicts } = conclude([complete('o1'), complete('o1'), complete('o2')]);
  for (const { ruledOut } of verdicts) t.regex(ruledOut?.detail ?? '', /u0 gave "o1", u2 gave "o2"/);
});

test('by set 2 unfinished jobs of others are answers, unless they are for other workers, or only the own ones are shared', (t) => {
  const rules = 2;
  t.is(conclude([queued('bob'), running('bob')], { rules }).chosen, 'u1');
  t.deepEqual(conclude([queued('bob'), queued()], { rules, ownUnfinishedOnly: true }).rules, ['OWNER', undefined]);
  const labelled = { ...running('bob'), requiredLabels: '[["gpu","a100"]]' };
  t.deepEqual(conclude([labelled, queued('bob')], { rules }).rules, ['LABELS', undefined]);
  t.is(conclude([labelled], { rules, requiredLabels: '[["gpu","a100"]]' }).chosen, 'u0');
  t.regex(
    conclude([labelled], { rules }).verdicts[0]?.ruledOut?.detail ?? '',
    /requires \[\["gpu","a100"\]\] of a worker/,
  );
  t.is(conclude([{ ...labelled, state: JobState.COMPLETE, output: 'o', log: 'l' }], { rules }).chosen, 'u0');
  const late = { ...labelled, lastHeartbeat: 1 };
  const own = { rules, ownUnfinishedOnly: true, oldestHeartbeat: 2 };
  t.deepEqual(conclude([late], own).rules, ['OWNER']);
  t.deepEqual(conclude([{ ...late, owner: 'alice' }], own).rules, ['LABELS']);
  t.deepEqual(conclude([{ ...late, owner: 'alice', requiredLabels: '' }], own).rules, ['HEARTBEAT']);
  // Set 1 knows neither.
  t.is(conclude([{ ...labelled, owner: 'alice' }], { rules: 1 }).chosen, 'u0');
});

test('a job that was requested when an input was known, and is without it, is no answer to who knows it', (t) => {
  const reads = { pointer: '/reads', hash: 'a', since: 5 };
  const index = { pointer: '/index', hash: 'b', since: 8 };
  const cases: [facts: Partial<CandidateFacts>, wanted: (typeof reads)[], rule: string | undefined, detail?: RegExp][] =
    [
      [{ requested: 6 }, [], undefined],
      [{ requested: 6 }, [reads], 'INPUTS', /^it ran without the input at "\/reads"$/],
      [{ requested: 6, state: JobState.RUNNING }, [reads], 'INPUTS', /^it runs without/],
      [{ requested: 6, state: JobState.QUEUED }, [reads], 'INPUTS', /^it is to run without/],
      [{ requested: 6, inputs: new Set(['/index']) }, [reads], 'INPUTS'],
      [{ requested: 6, inputs: new Set(['/reads']) }, [reads], undefined],
      // More than the request has, and than was known, does not matter.
      [{ requested: 6, inputs: new Set(['/reads', '/more']) }, [reads, index], undefined],
      [{ requested: 6 }, [index, reads], 'INPUTS', /"\/reads"/],
      [{ requested: 9 }, [index, reads], 'INPUTS', /"\/index"/],
      [{ requested: 9, inputs: new Set(['/reads']) }, [reads, index], 'INPUTS', /"\/index"/],
      // From before servers had it, or it is not known when it was requested.
      [{ requested: 4 }, [reads, index], undefined],
      [{}, [reads, index], undefined],
      [{ requested: 6, nondeterministic: true }, [reads], 'INPUTS'],
      [{ requested: 6, scriptVersion: 'c2' }, [reads], 'SCRIPT_VERSION'],
    ];
  for (const [facts, inputs, rule, detail] of cases) {
    const one = { ...sound, ...facts };
    const { rules, verdicts } = conclude([one], { rules: 2, inputs });
    t.is(rules[0], rule, JSON.stringify([facts, inputs]));
    t.regex(verdicts[0]?.ruledOut?.detail ?? '', detail ?? /^/);
    // What did not decide can be left out, and the same is decided.
    const deciding = decidingInputs([one], inputs);
    t.is(deciding.length, lackedInput(one, inputs) ? 1 : 0);
    t.deepEqual(conclude([one], { rules: 2, inputs: deciding }).verdicts, verdicts);
  }
  const many = [{ requested: 9 }, { requested: 6 }, { requested: 4 }].map((facts) => ({ ...sound, ...facts }));
  t.deepEqual(decidingInputs(many, [index, reads]), [index, reads]);
  t.deepEqual(decidingInputs(many.slice(1), [index, reads]), [reads]);
  // It takes no part in what outputs say.
  const differing = [
    { ...complete('o2'), requested: 6 },
    { ...complete('o1'), requested: 4 },
  ];
  t.deepEqual(conclude(differing, { rules: 2, inputs: [reads] }).rules, ['INPUTS', undefined]);
  t.deepEqual(
    funnelOf(decideReuse(differing, { ...terms, rules: 2, inputs: [reads] })).map(({ rule, left }) => [
      Rule[rule],
      left,
    ]),
    [['INPUTS', 1]],
  );
});

test('jobs that were given other inputs may give other outputs; those with the same may not', (t) => {
  const made = (output: string, ...pointers: string[]) => ({
    ...complete(output),
    ...(pointers.length > 0 && { inputs: new Set(pointers) }),
  });
  const cases: [candidates: CandidateFacts[], rules: string][] = [
    [[made('o1'), made('o2', '/a')], '- NOT_PREFERRED'],
    [[made('o1', '/a', '/b'), made('o2', '/a', '/c'), made('o3', '/a')], '- NOT_PREFERRED NOT_PREFERRED'],
    [[made('o1', '/a', '/b'), made('o1', '/b', '/a'), made('o2')], '- NOT_PREFERRED NOT_PREFERRED'],
    [[made('o1'), made('o2', '/a'), made('o3', '/a')], 'OUTPUTS_DIFFER OUTPUTS_DIFFER OUTPUTS_DIFFER'],
    [[made('o2', '/a'), made('o1'), made('o3')], 'OUTPUTS_DIFFER OUTPUTS_DIFFER OUTPUTS_DIFFER'],
  ];
  // The same where outputs were lost and found, which is compared in another way.
  const found = [{ from: 2, until: 3, detail: 'lost' }];
  for (const [candidates, rules] of cases) {
    for (const more of [{}, { requested: 1, losses: found }]) {
      const { rules: told } = conclude(
        candidates.map((one) => ({ ...one, ...more })),
        { rules: 2 },
      );
      t.is(told.map((rule) => rule ?? '-').join(' '), rules);
    }
  }
});

test('pointers of inputs come out of the reuse index as they were', (t) => {
  t.is(inputPointersText([]), '');
  t.is(inputPointersOf(''), undefined);
  const pointers = ['/a/0', '/b~1"\n', ''];
  t.deepEqual(inputPointersOf(inputPointersText(pointers.map((pointer) => ({ pointer })))), new Set(pointers));
});

test('a decision is taken by the set of rules that its terms name, the first unless they name one', (t) => {
  const candidates = [failed, complete('o1'), running()];
  const unnamed = decideReuse(candidates, terms);
  t.deepEqual(decideReuse(candidates, { ...terms, rules: 1 }), unnamed);
  t.true(knowsRules(usedRules));
  t.deepEqual(
    funnelOf({ ...unnamed, unlisted: 2 }).map(({ rule, left }) => [Rule[rule], left]),
    [
      ['FILTER', 3],
      ['STATE', 2],
      ['NOT_PREFERRED', 1],
    ],
  );
  for (const rules of [0, 7, -1, Number.NaN]) {
    t.false(knowsRules(rules));
    t.throws(() => decideReuse(candidates, { ...terms, rules }), { message: /^rule set \S+ is not known/ });
    t.throws(() => funnelOf({ ...unnamed, rules }), { message: /^rule set \S+ is not known/ });
  }
});

/** The rules as the design's page says them, in its order and with no regard to cost. */
function reference(candidates: readonly CandidateFacts[], asked: ReuseTerms): CandidateFacts | undefined {
  // 1 and 2: what may be a candidate at all.
  const eligible = candidates.filter(
    (c) =>
      asked.acceptsCommit(c.scriptVersion) &&
      c.dockerImageLocator === asked.dockerImageLocator &&
      (asked.arvadosSdkVersion === '' || c.arvadosSdkVersion === asked.arvadosSdkVersion) &&
      !c.nondeterministic &&
      !c.deleted &&
      (c.state === JobState.COMPLETE ||
        ((c.state === JobState.RUNNING || c.state === JobState.QUEUED) && c.owner === asked.principal)),
  );
  // 3: among the complete ones, oldest first, those with output and log.
  const finished = eligible.filter((c) => c.state === JobState.COMPLETE && c.output !== '' && c.log !== '');
  const outputs = new Set(finished.map((c) => c.output));
  if (finished.length > 0 && (outputs.size === 1 || asked.reuseIfOutputsDiffer)) return finished[0];
  // 4: otherwise a running one, then a queued one.
  const oldest = (state: JobState) => eligible.filter((c) => c.state === state)[0];
  return oldest(JobState.RUNNING) ?? oldest(JobState.QUEUED);
}

test('the decision is that of the rules written plainly', (t) => {
  const often = <T>(usual: T, ...rare: T[]) =>
    fc.oneof({ weight: 5, arbitrary: fc.constant(usual) }, ...rare.map((v) => fc.constant(v)));
  const candidate: fc.Arbitrary<CandidateFacts> = fc.record({
    uuid: fc.uuid(),
    owner: fc.constantFrom('alice', 'bob'),
    state: fc.constantFrom(
      JobState.QUEUED,
      JobState.RUNNING,
      JobState.COMPLETE,
      JobState.COMPLETE,
      JobState.FAILED,
      JobState.CANCELLED,
    ),
    scriptVersion: often('c1', 'c2'),
    dockerImageLocator: often('', 'd1'),
    arvadosSdkVersion: often('', 'a1'),
    nondeterministic: often(false, true),
    leaveLfsPointers: fc.constant(true),
    leaveSubmodules: fc.constant(true),
    deleted: often(false, true),
    output: often('o1', 'o2', ''),
    log: often('l', ''),
  });
  const asked = fc.record({
    principal: fc.constantFrom('alice', 'bob', ''),
    acceptsCommit: fc.constantFrom(terms.acceptsCommit, () => true),
    acceptedCommits: fc.constant('some'),
    dockerImageLocator: often('', 'd1'),
    arvadosSdkVersion: often('', 'a1'),
    reuseIfOutputsDiffer: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 8 }), asked, (candidates, given) => {
      const { chosen, verdicts } = decideReuse(candidates, given);
      t.is(chosen, reference(candidates, given));
      t.deepEqual(
        verdicts.map((verdict) => verdict.candidate),
        candidates,
      );
      for (const { candidate: one, ruledOut } of verdicts) t.is(ruledOut === undefined, one === chosen);
      // Who is ruled out alone is ruled out by the same rule among others.
      for (const { candidate: one, ruledOut } of verdicts) {
        const alone = decideReuse([one], given).verdicts[0]?.ruledOut;
        if (alone) t.deepEqual(ruledOut, alone);
        else if (ruledOut) t.true(ruledOut.rule >= Rule.OUTPUTS_DIFFER);
      }
    }),
    { numRuns: rounds(600, 2_000) },
  );
});

test('a job that leaves what the request refuses, or may fail by what it leaves, is ruled out', (t) => {
  const refusing = { leaveLfsPointers: false, leaveSubmodules: false };
  for (const [what, detail] of [
    ['leaveLfsPointers', /pointers of git-lfs/],
    ['leaveSubmodules', /submodules/],
  ] as const) {
    const leaves = { ...complete(), ...refusing, [what]: true };
    const out = decideReuse([leaves], { ...terms, ...refusing }).verdicts[0]?.ruledOut;
    t.is(out?.rule, Rule.CHECKOUT);
    t.regex(out?.detail ?? '', detail);
    t.is(decideReuse([leaves], { ...terms, ...refusing, [what]: true }).chosen, leaves);
    // Complete, it met none of them; unfinished, it may yet.
    const strict = { ...refusing, [what]: true };
    const refuses = { ...complete(), ...refusing };
    t.is(decideReuse([refuses], { ...terms, ...strict }).chosen, refuses);
    const unfinished = { ...running(), ...refusing };
    t.is(decideReuse([unfinished], { ...terms, ...strict }).verdicts[0]?.ruledOut?.rule, Rule.CHECKOUT);
    t.is(decideReuse([unfinished], { ...terms, ...refusing }).chosen, unfinished);
  }
  // Decisions of the time before have neither, and nor had the jobs.
  t.is(decideReuse([sound], terms).chosen, sound);
  t.is(decideReuse([{ ...sound, ...refusing }], terms).chosen?.uuid, sound.uuid);
});

test('of a plain commit it does not matter what a job leaves, and only where it decides is that asked', (t) => {
  const refusing = { leaveLfsPointers: false, leaveSubmodules: false };
  const isPlain = (commit: string) => commit === 'c1';
  const cases: [candidate: CandidateFacts, asked: boolean, ofPlain: string | undefined][] = [
    [complete(), true, undefined],
    [running(), true, undefined],
    [queued(), true, undefined],
    [{ ...complete(), scriptVersion: 'c2' }, false, 'SCRIPT_VERSION'],
    [{ ...complete(), deleted: true }, false, 'DELETED'],
    [failed, false, 'STATE'],
    [running('bob'), false, 'OWNER'],
    [complete(''), false, 'NO_OUTPUT'],
    [{ ...complete(), ...refusing }, false, undefined],
  ];
  for (const [candidate, asked, ofPlain] of cases) {
    const label = JSON.stringify(candidate);
    t.deepEqual(ruledOutByCheckoutAlone([candidate], { ...terms, ...refusing }), asked ? [candidate] : [], label);
    t.deepEqual(conclude([candidate], { ...refusing, isPlain }).rules, [ofPlain], label);
    const other = conclude([candidate], { ...refusing, isPlain: (commit) => commit !== candidate.scriptVersion });
    const same = ofPlain === 'SCRIPT_VERSION' || candidate.leaveSubmodules === false;
    t.deepEqual(other.rules, [same ? ofPlain : 'CHECKOUT'], label);
  }
  // One that refuses and is unfinished cannot be failed by what its commit does not have.
  const unfinished = { ...queued(), ...refusing };
  t.deepEqual(ruledOutByCheckoutAlone([unfinished], terms), [unfinished]);
  t.is(conclude([unfinished], { isPlain }).chosen, 'u0');
  // What differs, or is preferred, is told among those that the rule is not applied to.
  const several = [complete('o1'), complete('o2'), { ...complete('o1'), ...refusing }];
  t.deepEqual(ruledOutByCheckoutAlone(several, { ...terms, ...refusing }), several.slice(0, 2));
  t.deepEqual(conclude(several, { ...refusing, isPlain }).rules, Array(3).fill('OUTPUTS_DIFFER'));
  t.deepEqual(conclude(several, refusing).rules, ['CHECKOUT', 'CHECKOUT', undefined]);
});
