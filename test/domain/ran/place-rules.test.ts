import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { RanSchema } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import { ranElsewhere } from '../../../src/domain/ran/ran-elsewhere.js';
import { askedOfText, askedText, ranInOf, ranInOfText, ranInText } from '../../../src/domain/ran/ran-in.js';
import type { PlaceFacts, PlaceTerms } from '../../../src/domain/ran/rules.js';
import type { CandidateFacts, ReuseTerms } from '../../../src/domain/reuse.js';
import { decideReuse, usedRules } from '../../../src/domain/rule-sets.js';
import { anyCommit, firstTerms, sound } from '../candidates.js';

const image = 'tools/align@sha256:1';
const candidate: CandidateFacts = { ...sound, dockerImageLocator: image };
const terms: ReuseTerms = { ...firstTerms, ...anyCommit, rules: usedRules, dockerImageLocator: image };
const stated = { image, platform: 'linux/amd64', sandbox: '' };
const { RUNNING, QUEUED } = JobState;

test('a complete job is the answer only if it states that it ran in the image, on the platform and in the sandbox that are asked for', (t) => {
  const bare = { dockerImageLocator: '' };
  const amd = { platform: 'linux/amd64' };
  const sandbox = { sandbox: 'bubblewrap' };
  const cases: [facts: Partial<PlaceFacts>, asked: PlaceTerms, rule: string | undefined, detail?: RegExp][] = [
    [{}, {}, undefined],
    [{}, { imagesStated: true }, 'RAN_ELSEWHERE', /names the image "tools.align@sha256:1", and its run does not state/],
    [{ ranIn: { ...stated, image: 'b' } }, { imagesStated: true }, 'RAN_ELSEWHERE', /its run states "b"/],
    [{ ranIn: { image: '', platform: '', sandbox: 'bubblewrap' } }, { imagesStated: true }, 'RAN_ELSEWHERE'],
    [{ ranIn: stated }, { imagesStated: true }, undefined],
    [bare, { imagesStated: true, dockerImageLocator: '' } as PlaceTerms, undefined],
    [{ state: RUNNING }, { imagesStated: true }, undefined],
    [{ state: QUEUED }, { imagesStated: true }, undefined],
    [{ ranIn: stated }, amd, undefined],
    [
      { ranIn: { ...stated, platform: 'linux/arm64' } },
      amd,
      'PLATFORM',
      /ran on "linux.arm64", the request asks for "linux.amd64"/,
    ],
    [{}, amd, 'PLATFORM', /does not tell on which platform it ran/],
    // What it asked for is not what it ran on.
    [{ asked: { platform: 'linux/amd64', sandbox: '' } }, amd, 'PLATFORM'],
    [{ state: QUEUED }, amd, 'PLATFORM', /does not tell on which platform it is to run/],
    [{ state: QUEUED, asked: { platform: 'linux/amd64', sandbox: '' } }, amd, undefined],
    [{ ranIn: stated }, sandbox, undefined],
    [{}, sandbox, 'SANDBOX', /ran in no sandbox, the request asks for "bubblewrap"/],
    [{ state: RUNNING }, sandbox, undefined],
    [
      { ...bare, state: RUNNING },
      { ...sandbox, dockerImageLocator: '' } as PlaceTerms,
      'SANDBOX',
      /may run in no sandbox/,
    ],
    [
      { ...bare, ranIn: { image: '', platform: '', sandbox: 'bubblewrap' } },
      { ...sandbox, dockerImageLocator: '' } as PlaceTerms,
      undefined,
    ],
    [
      { ...bare, ranIn: { image: '', platform: '', sandbox: 'chroot' } },
      { ...sandbox, dockerImageLocator: '' } as PlaceTerms,
      'SANDBOX',
      /in "chroot"/,
    ],
    [
      { ...bare, state: QUEUED, asked: { platform: '', sandbox: 'bubblewrap' } },
      { ...sandbox, dockerImageLocator: '' } as PlaceTerms,
      undefined,
    ],
  ];
  for (const [facts, asked, rule, detail] of cases) {
    const [verdict] = decideReuse([{ ...candidate, ...facts }], { ...terms, ...asked }).verdicts;
    t.is(verdict?.ruledOut && Rule[verdict.ruledOut.rule], rule, JSON.stringify([facts, asked]));
    if (detail) t.regex(verdict?.ruledOut?.detail ?? '', detail);
  }
});

test('a run was in the image if it states its locator, and what it is known by', (t) => {
  const [known, other] = [1, 2].map((n) => `sha256:${String(n).repeat(64)}`) as [string, string];
  const job = { dockerImageLocator: image };
  const of = (more: object) => create(RanSchema, { image: { locator: image, manifestDigest: other, ...more } });
  t.is(ranElsewhere({ dockerImageLocator: '' }, undefined, known), undefined);
  t.is(ranElsewhere(job, of({ manifestDigest: known }), known), undefined);
  t.is(ranElsewhere(job, of({ listDigest: known }), known), undefined);
  t.is(ranElsewhere(job, of({ configId: known }), known), undefined);
  t.is(ranElsewhere(job, of({}), ''), undefined, 'what it is known by is not known');
  t.regex(ranElsewhere(job, undefined, known) ?? '', /does not state that it ran there$/);
  t.regex(ranElsewhere(job, create(RanSchema, { sandbox: 'bubblewrap' }), known) ?? '', /does not state/);
  t.regex(ranElsewhere(job, of({ locator: 'b' }), known) ?? '', /the worker states "b"$/);
  t.regex(ranElsewhere(job, of({}), known) ?? '', /is known by sha256:1+, and the worker states sha256:2+$/);
});

test('what is asked for and what was stated come out of their texts as they were', (t) => {
  t.is(askedText(undefined), '');
  t.is(askedOfText(''), undefined);
  t.is(ranInOfText(ranInText(undefined)), undefined);
  const asked = { platform: 'linux/"', sandbox: 'b' };
  t.deepEqual(askedOfText(askedText(asked)), asked);
  t.deepEqual(ranInOfText(ranInText({ ...asked, image })), { ...asked, image });
  t.is(ranInOf(create(RanSchema, { runtime: 'podman' })), undefined);
});
