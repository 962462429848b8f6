import test from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import { addedPlace, isWithin } from '../../../src/domain/repositories/added-place.js';
import { decideSet, evolveSet, type RepositorySet } from '../../../src/domain/repositories/repository-set.js';

const none = { path: '', url: '', credential: '' };

for (const [given, expected] of [
  [{ path: '/srv/git/a.git' }, { path: '/srv/git/a.git' }],
  [{ path: '/srv/git/a.git/' }, { path: '/srv/git/a.git' }],
  [
    { url: 'https://GIT.example.org/a.git', credential: 'forge' },
    { url: 'https://git.example.org/a.git', credential: 'forge' },
  ],
  [{ url: 'git://git.example.org/a' }, { url: 'git://git.example.org/a', credential: '' }],
] as const) {
  test(`the place ${JSON.stringify(given)} is taken`, (t) => {
    t.deepEqual(addedPlace({ ...none, ...given }), expected);
  });
}

for (const given of [
  {},
  { path: '/a', url: 'https://h/a' },
  { path: 'a' },
  { path: '/' },
  { path: '/a/../b' },
  { path: '/a//b' },
  { path: '/a/./b' },
  { path: '/a\n' },
  { path: '/a\0' },
  { path: `/${'a'.repeat(5_000)}` },
  { path: '/a', credential: 'forge' },
  { url: 'a' },
  { url: 'https://ada:secret@h/a' },
  { url: 'https://ada@h/a' },
  { url: 'https://@h/a' },
  { url: 'ada:secret@h' },
  { url: 'https://ada:secret@' },
  { url: 'https://h/a?b' },
  { url: 'https://h/a#b' },
  { url: 'https://h/a%2f..%2fb' },
  { url: 'https://h/a%5c..%5cb' },
  { url: 'https://h/%ff' },
  { url: 'file:///etc' },
]) {
  test(`the place ${JSON.stringify(given).slice(0, 60)} is refused, and no password is told`, (t) => {
    const error = t.throws(() => addedPlace({ ...none, ...given }), { instanceOf: MemoirError });
    t.is(error?.reason, 'BAD_PLACE');
    t.notRegex(error?.message ?? '', /secret/);
  });
}

for (const [place, prefixes, within] of [
  ['/srv/git/team/a', ['/srv/git/team'], true],
  ['/srv/git/team/a', ['/srv/git/team/'], true],
  ['/srv/git/team', ['/srv/git/team/'], true],
  ['/srv/git/team-2/a', ['/srv/git/team'], false],
  ['/srv/git', ['/srv/git/team'], false],
  ['/anything', ['/'], true],
  ['https://h/team/a', ['/x', 'https://h/team/'], true],
  ['https://h/team2/a', ['https://h/team'], false],
  ['https://h.evil.example/a', ['https://h'], false],
  ['https://h:8443/a', ['https://h'], false],
  ['https://h/a', ['https://h'], true],
  ['http://h/a', ['https://h'], false],
  ['/a', [], false],
] as const) {
  test(`${place} is ${within ? '' : 'not '}within ${JSON.stringify(prefixes)}`, (t) => {
    t.is(isWithin(place, prefixes), within);
  });
}

test('a name has a new epoch each time that it comes to mean another place, and what is as wanted makes no event', (t) => {
  const places = [
    { path: '/a' },
    { path: '/b' },
    { url: 'https://h/a', credential: '' },
    { url: 'https://h/a', credential: 'c' },
  ];
  const command = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), place: fc.constantFrom(...places), replace: fc.boolean() }),
    fc.record({ kind: fc.constant('remove' as const) }),
  );
  let changes = 0;
  fc.assert(
    fc.property(fc.array(command, { maxLength: 20 }), (commands) => {
      let set: RepositorySet = new Map();
      let epoch = 0;
      let at = '';
      for (const one of commands) {
        const before = set.get('r');
        let event: ReturnType<typeof decideSet>;
        try {
          event = decideSet(set, { ...one, name: 'r', by: 'ada', now: 0 });
        } catch (error) {
          const expected = one.kind === 'remove' ? !before : before && !before.removed && !one.replace;
          if (!expected) throw error;
          continue;
        }
        const next = event ? evolveSet(set, event) : set;
        if (one.kind === 'add') {
          const place = 'path' in one.place ? one.place.path : one.place.url;
          if (place !== at) epoch++;
          at = place;
          t.like(next.get('r'), { place: one.place, epoch, removed: false });
        } else t.true(next.get('r')?.removed);
        t.is(event === undefined, JSON.stringify(next.get('r')) === JSON.stringify(before));
        if (event) changes++;
        set = next;
      }
    }),
  );
  t.true(changes > 0);
});
