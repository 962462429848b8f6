import { create } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { recordedOffer, toldOffer } from '../../../src/domain/placement/recorded-offer.js';
import { fits, requirementsOf, unmetBy } from '../../../src/domain/placement/requirements.js';
import { shapeKey, shapeOf, shapeOfKey } from '../../../src/domain/placement/shape.js';
import { isGranted, isGrantId, isSecretName, secretsText } from '../../../src/domain/secrets/grants.js';
import { bySecrets } from '../../../src/domain/secrets/rule.js';
import { hiddenOf, maskText, openMask } from '../../../src/worker/secrets/mask.js';

const { QUEUED, RUNNING, COMPLETE } = JobState;

test('names of secrets are those of files and variables, and ids of grants stand behind an @', (t) => {
  const names: [text: string, name: boolean, id: boolean][] = [
    ['DB_PASSWORD', true, true],
    ['_a1', true, true],
    ['a'.repeat(64), true, true],
    ['a'.repeat(65), false, false],
    ['', false, false],
    ['1a', false, true],
    ['prod-2.db', false, true],
    ['..', false, false],
    ['.ssh', false, false],
    ['a/b', false, false],
    ['../a', false, false],
    ['a b', false, false],
    ['a\n', false, false],
    ['A@b', false, false],
    ['ä', false, false],
  ];
  for (const [text, name, id] of names)
    t.deepEqual([isSecretName(text), isGrantId(text)], [name, id], JSON.stringify(text));
});

test('a grant holds where both the repository and the principal are among its globs', (t) => {
  const cases: [
    repositories: string[],
    principals: string[],
    repository: string,
    principal: string,
    granted: boolean,
  ][] = [
    [['lab/*'], ['ada'], 'lab/one', 'ada', true],
    [['lab/*'], ['ada'], 'lab/one/two', 'ada', false],
    [['lab/**', 'x'], ['bob', 'ada'], 'lab/one/two', 'ada', true],
    [['lab'], ['ada'], 'lab', 'adab', false],
    [['lab'], ['team-*'], 'lab', 'team-', true],
    [['lab'], ['*@cellar'], 'lab', 'worker@cellar', true],
    [['lab'], ['*@cellar'], 'lab', 'worker@cellar2', false],
    [['lab'], ['a.b'], 'lab', 'axb', false],
    [['lab'], ['(a|b)'], 'lab', 'a', false],
    [['lab'], ['*'], 'lab', 'anybody/at:all', true],
    [['**'], ['*'], 'any/thing', 'ada', true],
    [[], ['*'], 'lab', 'ada', false],
    [['lab'], [], 'lab', 'ada', false],
    [['('], ['*'], 'lab', 'ada', false],
    [['lab'], ['a b'], 'lab', 'a b', false],
  ];
  for (const [repositories, principals, repository, principal, granted] of cases) {
    const secret = { name: 'A', grant: 'g', repositories, principals };
    t.is(
      isGranted(secret, repository, principal),
      granted,
      JSON.stringify([repositories, principals, repository, principal]),
    );
  }
});

test('an offer fits a job only if it has every secret, by the same grant, for everybody who wants the job', (t) => {
  const job = {
    repository: 'lab',
    owner: 'ada',
    dockerImageLocator: '',
    requiredLabels: {},
    secrets: [
      { name: 'B', grant: 'g' },
      { name: 'A', grant: 'g' },
    ],
  };
  const has = (...principals: string[]) =>
    create(OfferSchema, {
      secrets: ['A', 'B'].map((name) => ({ name, grant: 'g', repositories: ['lab'], principals })),
    });
  const wanted = requirementsOf(job);
  const shared = requirementsOf(job, ['ada', 'bob']);
  t.true(fits(has('ada'), wanted));
  t.false(fits(has('ada'), shared));
  t.true(fits(has('ada', 'bob'), shared));
  t.false(fits(undefined, wanted));
  const other = create(OfferSchema, { secrets: [{ name: 'A', grant: 'h', repositories: ['lab'], principals: ['*'] }] });
  t.deepEqual(
    unmetBy(other, wanted).map(({ wanted: what, offered }) => `${what}: ${offered}`),
    ['the secret B by grant g: none', 'the secret A by grant g: none'],
  );
  t.deepEqual(
    unmetBy(has('ada'), shared).map(({ offered }) => offered),
    ['it for others', 'it for others'],
  );
  t.deepEqual(shapeKey(shapeOfKey(shapeKey(shapeOf(wanted)))), shapeKey(shapeOf(wanted)));
  t.not(shapeKey(shapeOf(wanted)), shapeKey(shapeOf(requirementsOf({ ...job, owner: 'bob' }))));
  t.is(shapeKey(shapeOf(wanted)), shapeKey(shapeOf(requirementsOf({ ...job, secrets: job.secrets.toReversed() }))));
  t.is(shapeKey(shapeOf(requirementsOf({ ...job, secrets: [] }))), '["lab",false,0,0,0,[]]', 'as before');
  t.deepEqual(
    recordedOffer(has('ada'), [{ name: 'A', grant: 'g' }]).secrets.map(({ name, principals }) => [name, principals]),
    [['A', []]],
  );
  t.deepEqual(
    toldOffer(has('ada')).secrets.flatMap(({ repositories, principals }) => [...repositories, ...principals]),
    [],
  );
});

test('the rule on secrets: the same names and grants, and of unfinished jobs none that are not granted', (t) => {
  const cases: [
    state: JobState,
    its: string | undefined,
    ours: string | undefined,
    ungranted: boolean,
    out: boolean,
  ][] = [
    [COMPLETE, undefined, '', false, false],
    [COMPLETE, 'A@g', 'A@g', false, false],
    [COMPLETE, 'A@g', 'A@g', true, false],
    [COMPLETE, 'A@g', 'A@h', false, true],
    [COMPLETE, 'A@g', '', false, true],
    [COMPLETE, undefined, 'A@g', false, true],
    [QUEUED, 'A@g', 'A@g', false, false],
    [QUEUED, 'A@g', 'A@g', true, true],
    [RUNNING, 'A@g', 'A@g', true, true],
    [QUEUED, undefined, '', true, false],
    // Decisions of before did not look at them.
    [COMPLETE, 'A@g', undefined, false, false],
    [QUEUED, 'A@g', undefined, true, false],
  ];
  for (const [state, its, ours, secretsUngranted, out] of cases) {
    const facts = { state, ...(its !== undefined && { secrets: its }) };
    const ruledOut = bySecrets(facts, { ...(ours !== undefined && { secrets: ours }), secretsUngranted });
    t.is(ruledOut?.rule, out ? Rule.SECRETS : undefined, JSON.stringify([state, its, ours, secretsUngranted]));
  }
  t.is(
    secretsText([
      { name: 'B', grant: 'x' },
      { name: 'A', grant: 'y' },
    ]),
    'A@y B@x',
  );
});

/** What is told of pieces. */
function masked(values: readonly string[], pieces: readonly string[]): string {
  const mask = openMask(hiddenOf(values.map((value) => Buffer.from(value))));
  return Buffer.concat([...pieces.map((piece) => mask.push(Buffer.from(piece, 'latin1'))), mask.end()]).toString(
    'latin1',
  );
}

test('values are hidden also across pieces, where they overlap, and as JSON writes them', (t) => {
  const cases: [values: string[], pieces: string[], told: string][] = [
    [['hunter2'], ['a hunter2 b'], 'a *** b'],
    [['hunter2'], ['a hun', 'te', 'r2 b'], 'a *** b'],
    [['hunter2'], ['a hun', 'ted'], 'a hunted'],
    [['hunter2'], ['hunter'], 'hunter'],
    [['abcd', 'cdef'], ['xabcdefx'], 'x***x'],
    [['abcd', 'cdef'], ['xabc', 'def', 'x'], 'x***x'],
    [['abc', 'abcdef'], ['abc', 'def!'], '***!'],
    [['abc', 'abcdef'], ['abc', 'de!'], '***de!'],
    [['aa'], ['aaaaa'], '***'],
    [['key one\nkey two\n'], ['see key two.'], 'see ***.'],
    [['pass\n'], ['pass'], '***'],
    [['a"b\\c'], ['{"x":"a\\"b\\\\c"}'], '{"x":"***"}'],
    [[''], ['nothing'], 'nothing'],
    [['x'], ['xyx'], '***y***'],
  ];
  for (const [values, pieces, told] of cases) t.is(masked(values, pieces), told, JSON.stringify([values, pieces]));
  t.is(maskText(hiddenOf([Buffer.from('grün')]))('das grüne'), 'das ***e');
});

test('however a text is cut, the same is told of it, which has no value and all that is not of one', (t) => {
  const letters = fc.stringMatching(/^[ab]{2,5}$/);
  const cut = fc.tuple(
    fc.uniqueArray(letters, { minLength: 1, maxLength: 3 }),
    fc.array(fc.stringMatching(/^[abc]{0,6}$/), { maxLength: 6 }),
  );
  fc.assert(
    fc.property(cut, ([values, pieces]) => {
      const text = pieces.join('');
      const told = masked(values, pieces);
      t.is(told, masked(values, [text]));
      const plain = [...text].map(() => true);
      for (const value of values) {
        for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1))
          plain.fill(false, at, at + value.length);
      }
      t.is(told.replaceAll('*', ''), [...text].filter((_, i) => plain[i]).join(''));
    }),
  );
});
