import test from 'ava';
import fc from 'fast-check';
import { accessOf, type Deed, type Policy, permission, type Role, unrestricted } from '../../src/domain/access.js';

const policy: Policy = {
  groups: { genomics: ['ada', 'bob'], robots: ['runner'] },
  grants: [
    { to: ['group:genomics'], roles: ['reader', 'submitter'], repositories: ['genome/*'] },
    { to: ['group:robots'], roles: ['worker'], repositories: ['**'] },
    { to: ['carol'], roles: ['admin'], repositories: ['genome/**', 'weather'] },
    { to: ['*'], roles: ['reader'], repositories: ['public/*'] },
    { to: ['root'], roles: ['admin'], repositories: ['**'] },
    { to: ['dora'], roles: ['auditor'], repositories: ['weather'] },
  ],
};

const cases: [
  principal: string,
  repository: string,
  knows: boolean,
  submits: boolean,
  works: boolean,
  admin: boolean,
][] = [
  ['ada', 'genome/align', true, true, false, false],
  ['ada', 'genome/deep/align', false, false, false, false],
  ['ada', 'genome', false, false, false, false],
  ['ada', 'public/x', true, false, false, false],
  ['ada', 'weather', false, false, false, false],
  ['runner', 'weather', true, false, true, false],
  ['runner', 'a/b/c', true, false, true, false],
  ['carol', 'genome/deep/align', true, true, true, true],
  ['carol', 'public/x', true, false, false, false],
  ['carol', 'secret', false, false, false, false],
  ['root', 'secret', true, true, true, true],
  ['dora', 'weather', true, false, false, false],
  ['genomics', 'genome/align', false, false, false, false],
  ['group:genomics', 'genome/align', false, false, false, false],
  ['', 'genome/align', false, false, false, false],
];

for (const [principal, repository, knows, submits, works, administers] of cases) {
  test(`${principal || 'nobody'} in ${repository}`, (t) => {
    const access = accessOf(policy, principal);
    t.deepEqual(
      [access.knows(repository), access.submits(repository), access.works(repository), access.administers(repository)],
      [knows, submits, works, administers],
    );
    t.true(access.reads({ owner: principal, repository }), 'an owner reads its own');
    t.is(access.reads({ owner: 'another', repository }), knows);
    t.is(access.steers({ owner: 'another', repository }), administers);
  });
}

test('all of everything is only what a grant for ** gives', (t) => {
  const all = (principal: string) => {
    const { readsAll, worksAll, administersAll } = accessOf(policy, principal);
    return [readsAll, worksAll, administersAll];
  };
  t.deepEqual(all('root'), [true, true, true]);
  t.deepEqual(all('runner'), [true, true, false]);
  t.deepEqual(all('carol'), [false, false, false]);
  t.deepEqual(all('nobody'), [false, false, false]);
});

const deedCases: [who: string, deed: Deed, answer: ReturnType<typeof permission>][] = [
  ['owner', 'read', 'granted'],
  ['owner', 'steer', 'granted'],
  ['owner', 'start', 'denied'],
  ['dora', 'read', 'granted'],
  ['dora', 'steer', 'denied'],
  ['runner', 'start', 'granted'],
  ['runner', 'steer', 'denied'],
  ['claimer', 'report', 'granted'],
  ['claimer', 'read', 'granted'],
  ['claimer', 'steer', 'denied'],
  ['stranger', 'read', 'hidden'],
  ['stranger', 'report', 'hidden'],
  ['stranger', 'start', 'hidden'],
  ['stranger', 'steer', 'hidden'],
];

for (const [who, deed, answer] of deedCases) {
  test(`${who} may ${deed}: ${answer}`, (t) => {
    const job = { owner: 'owner', repository: 'weather', claimedBy: 'claimer' };
    t.is(permission(accessOf(policy, who), job, deed), answer);
  });
}

test('a job that nobody claimed is not the empty principal’s', (t) => {
  const job = { owner: 'owner', repository: 'weather', claimedBy: '' };
  t.is(permission(accessOf(policy, ''), job, 'report'), 'hidden');
});

test('no grant, no access; no policy, all access', (t) => {
  const nothing = accessOf({ groups: {}, grants: [] }, 'ada');
  t.false(nothing.knows('a') || nothing.submits('a') || nothing.works('a') || nothing.administers('a'));
  const all = unrestricted('ada');
  t.true(all.knows('a') && all.submits('a') && all.works('a') && all.administers('a'));
});

test('the most that may be asked for is what the most generous grant allows by which jobs may be requested', (t) => {
  const to = ['ada'];
  const grants = [
    { to, roles: ['submitter'], repositories: ['a', 'b'], bounds: { priority: 5, cores: 8 } },
    { to, roles: ['submitter'], repositories: ['b'], bounds: { priority: 2, cores: 16, ramMb: 100 } },
    { to, roles: ['reader'], repositories: ['a'] },
    { to, roles: ['submitter'], repositories: ['c'] },
  ] satisfies Policy['grants'];
  const { bounds } = accessOf({ groups: {}, grants }, 'ada');
  t.deepEqual(bounds('a'), { priority: 5, cores: 8 });
  t.deepEqual(bounds('b'), { priority: 5, cores: 16 });
  t.deepEqual(bounds('c'), {});
  t.deepEqual(bounds('d'), { priority: 0, cores: 0, ramMb: 0, scratchMb: 0 });
  t.deepEqual(unrestricted('ada').bounds('d'), {});
});

test('more grants never take anything away', (t) => {
  const roles: Role[] = ['reader', 'submitter', 'worker', 'auditor', 'admin'];
  const grant = fc.record({
    to: fc.uniqueArray(fc.constantFrom('ada', 'group:g', '*'), { minLength: 1 }),
    roles: fc.uniqueArray(fc.constantFrom(...roles), { minLength: 1 }),
    repositories: fc.uniqueArray(fc.constantFrom('a', 'a/*', '**', 'b/**'), { minLength: 1 }),
    bounds: fc.record({ priority: fc.integer(), cores: fc.nat(), ramMb: fc.nat() }, { requiredKeys: [] }),
  });
  fc.assert(
    fc.property(fc.array(grant), grant, fc.constantFrom('a', 'a/x', 'b/x/y', 'c'), (grants, more, repository) => {
      const groups = { g: ['ada'] };
      const before = accessOf({ groups, grants }, 'ada');
      const after = accessOf({ groups, grants: [...grants, more] }, 'ada');
      for (const may of ['knows', 'submits', 'works', 'administers'] as const) {
        t.true(!before[may](repository) || after[may](repository));
      }
      if (!before.submits(repository)) return;
      const [least, most] = [before.bounds(repository), after.bounds(repository)];
      for (const name of ['priority', 'cores', 'ramMb', 'scratchMb'] as const) {
        t.true((least[name] ?? Number.POSITIVE_INFINITY) <= (most[name] ?? Number.POSITIVE_INFINITY), name);
      }
    }),
  );
});
