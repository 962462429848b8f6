import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import fc from 'fast-check';
import type { Command } from '../../src/domain/commands.js';
import { MemoirError } from '../../src/domain/errors.js';
import { evolve } from '../../src/domain/evolve.js';
import { type Above, leaversOf, planCascade, type Reached } from '../../src/domain/interests/cascade.js';
import type { Leaver } from '../../src/domain/interests/commands.js';
import { isAmong } from '../../src/domain/interests/decide-interests.js';
import type { Standing } from '../../src/domain/interests/interests.js';
import { decide, type JobRecord } from '../../src/domain/job.js';
import { joinOf, leaveOf, noon, requestOf } from './commands.js';

const interest = (principal: string, since = 0): Standing => ({
  id: `${principal} ${since}`,
  principal,
  named: false,
  since: timestampFromMs(since),
  priority: 0,
  minima: undefined,
  queuedMs: undefined,
  weight: undefined,
  revision: 0,
  told: { $typeName: 'memoir.jobs.v1.Interest', id: '', principal, priority: 0 },
});

/** A job of an owner, wanted by those, which a principal works on. */
function job(uuid: string, owner: string, worker: string, wantedBy: string[], components: string[] = []): Reached {
  return {
    uuid,
    cancelled: false,
    standsFor: new Set([owner, worker]),
    leavers: [{ principal: owner }, { principal: worker }],
    components,
    standing: wantedBy.map((principal) => interest(principal)),
  };
}
const root = (components: string[], owner = 'ada', worker = 'w'): Reached => ({
  ...job('root', owner, worker, [], components),
  cancelled: true,
});
const goingOf = (reached: readonly Reached[], others: Readonly<Record<string, readonly Above[]>> = {}) =>
  [...planCascade(reached, (uuid) => others[uuid] ?? []).going].sort();

test('a cascade takes what nobody wants but those whose parents are cancelled', (t) => {
  t.deepEqual(goingOf([root(['a', 'b']), job('a', 'w', 'x', ['w']), job('b', 'w', 'x', ['w', 'bob'])]), ['a']);
  const chain = [root(['a']), job('a', 'w', 'x', ['w'], ['b']), job('b', 'x', 'y', ['x'])];
  t.deepEqual(goingOf(chain), ['a', 'b']);
});

test('what another parent needs stays, if that stands for the same principal and goes on', (t) => {
  const shared = [root(['c']), job('c', 'w', 'x', ['w'])];
  const other = (owner: string, worker: string, cancelled = false): Above => ({
    ...job('q', owner, worker, []),
    cancelled,
  });
  t.deepEqual(goingOf(shared, { c: [other('bob', 'w')] }), []);
  t.deepEqual(goingOf(shared, { c: [other('w', 'x')] }), []);
  t.deepEqual(goingOf(shared, { c: [other('bob', 'v')] }), ['c']);
  t.deepEqual(goingOf(shared, { c: [other('bob', 'w', true)] }), ['c']);
  // Whom an earlier cascade spared, since this one's job was there.
  t.deepEqual(goingOf([root(['c'], 'ada', 'v'), job('c', 'w', 'x', ['w', 'v'])], { c: [other('bob', 'w', true)] }), [
    'c',
  ]);
});

test('a component of two that go goes, and one of two of which one stays does not', (t) => {
  const diamond = (wantedBy: string[]) => [
    root(['p', 'c']),
    job('c', 'w', 'x', ['w']),
    job('p', 'w', 'w', wantedBy, ['c']),
  ];
  t.deepEqual(goingOf(diamond(['w'])), ['c', 'p']);
  t.deepEqual(goingOf(diamond(['w', 'bob'])), []);
});

test('jobs that have each other as components go together, unless one of them is wanted', (t) => {
  const cycle = (wantedBy: string[]) => [
    root(['a']),
    job('a', 'w', 'w', ['w'], ['b', 'a']),
    job('b', 'w', 'w', wantedBy, ['a', 'root']),
  ];
  t.deepEqual(goingOf(cycle(['w'])), ['a', 'b']);
  t.deepEqual(goingOf(cycle(['w', 'bob'])), []);
});

test('what goes is the most that can go, and parents come before their components', (t) => {
  const principal = fc.constantFrom('ada', 'bob', 'w');
  const names = ['root', 'a', 'b', 'c', 'd'];
  const some = fc.subarray(names);
  const member = fc.record({
    owner: principal,
    worker: principal,
    standing: fc.uniqueArray(principal, { minLength: 1 }),
    components: some,
    cancelled: fc.boolean(),
  });
  const others = fc.array(fc.record({ of: fc.constantFrom(...names), owner: principal, cancelled: fc.boolean() }), {
    maxLength: 3,
  });
  const property = fc.property(fc.array(member, { minLength: 5, maxLength: 5 }), others, (members, outside) => {
    const reached = members.map(
      (one, i): Reached => ({
        ...job(names[i] as string, one.owner, one.worker, one.standing, one.components),
        cancelled: i === 0 || (one.cancelled && i === 1),
      }),
    );
    const othersOf = (uuid: string) =>
      outside.flatMap((one, i) =>
        one.of === uuid ? [{ ...job(`other ${i}`, one.owner, one.owner, []), cancelled: one.cancelled }] : [],
      );
    /** Whether all who want it leave, where those are cancelled. */
    const leaves = (one: Reached, gone: ReadonlySet<string>) => {
      const parents = [
        ...reached.filter((each) => each !== one && each.components.includes(one.uuid)),
        ...othersOf(one.uuid),
      ];
      const isGone = (each: Above) => each.cancelled || gone.has(each.uuid);
      return one.standing.every(
        (each) =>
          parents.some((parent) => isGone(parent) && isAmong(each, parent.leavers)) &&
          parents.every((parent) => isGone(parent) || !parent.standsFor.has(each.principal)),
      );
    };
    const open = reached.filter(({ cancelled }) => !cancelled);
    const most = new Set<string>();
    for (let bits = 0; bits < 2 ** open.length; bits++) {
      const set = open.filter((_, i) => (bits >> i) & 1);
      const gone = new Set(set.map(({ uuid }) => uuid));
      if (set.every((one) => leaves(one, gone))) for (const uuid of gone) most.add(uuid);
    }
    const { going, order } = planCascade(reached, othersOf);
    t.deepEqual([...going].sort(), [...most].sort());
    t.deepEqual(order.map(({ uuid }) => uuid).sort(), [...names].sort());
    const later = (one: Reached) => one.components.filter((uuid) => names.indexOf(uuid) > names.indexOf(one.uuid));
    const acyclic = planCascade(
      reached.map((one) => ({ ...one, components: later(one) })),
      othersOf,
    ).order;
    const place = (uuid: string) => acyclic.findIndex((one) => one.uuid === uuid);
    for (const one of acyclic) for (const uuid of one.components) t.true(place(one.uuid) < place(uuid));
  });
  fc.assert(property, { numRuns: 500 });
});

/** The record after commands. */
function after(...commands: Command[]): JobRecord {
  let record: JobRecord | undefined;
  let revision = -1;
  for (const command of commands) {
    const decided = decide(record, command);
    if (decided instanceof MemoirError) throw decided;
    for (const event of decided) record = evolve(record, event, ++revision, `event ${revision}`);
  }
  return record as JobRecord;
}

test('what its owner wants of components ends where the owner says so, or somebody who may for everyone', (t) => {
  const request: Command = { kind: 'request', requested: requestOf({}) };
  const shared = [request, joinOf({ principal: 'bob' })];
  const cancel: Command = { kind: 'cancel', principal: 'root', cascadeFrom: '', cascade: true, now: noon };
  const started: Command = { kind: 'start', worker: 'w1', leaseMs: 60_000, now: noon + 5 };
  const worker = { principal: 'w1', since: noon + 5 };
  const alice = (commands: Command[], caller: string): readonly Leaver[] => leaversOf(after(...commands), caller);
  t.deepEqual(alice([request, leaveOf('alice')], 'alice'), [{ principal: 'alice' }]);
  t.deepEqual(alice([...shared, started, cancel], 'root'), [{ principal: 'alice' }, worker]);
  t.deepEqual(alice([...shared, started, leaveOf('alice'), leaveOf('bob')], 'bob'), [worker]);
  const parting = leaveOf('alice', { cascade: true, now: noon + 7 });
  t.deepEqual(alice([...shared, parting, leaveOf('bob')], 'bob'), [{ principal: 'alice', until: noon + 7 }]);
  // Taken by a cascade from above, which goes on.
  const fromAbove = leaveOf('carol', { of: [{ principal: 'alice' }], all: true, reason: 'CASCADE', cascade: true });
  t.deepEqual(alice([request, fromAbove], 'carol'), [{ principal: 'alice', until: noon }]);
  t.true(isAmong(interest('alice', 7), [{ principal: 'alice', until: 7 }]));
  t.false(isAmong(interest('alice', 8), [{ principal: 'alice', until: 7 }]));
});
