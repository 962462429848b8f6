import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import fc from 'fast-check';
import { type JobJoined, JobJoinedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { MinimaSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { DecisionSchema } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState, RuntimeConstraintsSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Command } from '../../src/domain/commands.js';
import { MemoirError } from '../../src/domain/errors.js';
import type { JobEvent } from '../../src/domain/events.js';
import { evolve } from '../../src/domain/evolve.js';
import type { JoinCommand, LeaveCommand } from '../../src/domain/interests/commands.js';
import { mostInterests } from '../../src/domain/interests/decide-interests.js';
import { isWithin, largest } from '../../src/domain/interests/minima.js';
import { decide, isFinished, type JobRecord } from '../../src/domain/job.js';
import { rounds } from '../support/rounds.js';
import { anyWish, joinOf, leaveOf, noon, requestOf } from './commands.js';

const constraints = (minCoresPerNode: number, minRamMbPerNode = 0) =>
  create(RuntimeConstraintsSchema, { minCoresPerNode, minRamMbPerNode });

/** The record after commands, and the names of the events that each made, or the reason of its refusal. */
function after(...commands: Command[]): { record: JobRecord; told: string[] } {
  let record: JobRecord | undefined;
  let revision = -1;
  const told = commands.map((command) => {
    const decided = decide(record, command);
    if (decided instanceof MemoirError) return decided.reason;
    for (const event of decided) record = evolve(record, event, ++revision, `event ${revision}`);
    return decided.map(nameOf).join(' ');
  });
  return { record: record as JobRecord, told };
}

const nameOf = ({ $typeName }: JobEvent) => $typeName.slice('memoir.events.v1.'.length);
const request = (facts: Parameters<typeof requestOf>[0] = {}): Command => ({
  kind: 'request',
  requested: requestOf(facts),
});
const start: Command = { kind: 'start', worker: 'w1', leaseMs: 60_000, now: noon };
const complete: Command = { kind: 'complete', worker: 'w1', output: 'o', log: 'l', now: noon };
const bob: Partial<JobJoined> = { principal: 'bob' };
const names = ({ interests }: JobRecord) => interests.standing.map(({ principal, id }) => `${principal} ${id}`);

test('a job takes the turn in the queue of who has waited longest, which passes on when that leaves', (t) => {
  const passed = (record: JobRecord, ...leaving: Command[]) => {
    let now = record;
    return leaving.map((command) => {
      const decided = decide(now, command);
      if (decided instanceof MemoirError) return decided.reason;
      for (const event of decided) now = evolve(now, event, now.job.revision + 1, 'left');
      return decided.map((event) => ('turnOf' in event ? `${event.turnOf} ${event.turnWeight}` : nameOf(event))).join();
    });
  };
  const { record } = after(
    request({ turnWeight: 1 }),
    joinOf({ principal: 'alice', submitId: 'again', turnWeight: 1 }),
    joinOf({ ...bob, turnWeight: 3 }),
    joinOf({ principal: 'carol' }),
  );
  t.deepEqual(passed(record, leaveOf('bob'), leaveOf('alice', { all: true }), leaveOf('carol')), [
    ' undefined',
    ' undefined,carol undefined',
    ' undefined,JobCancelled',
  ]);
  t.deepEqual(passed(record, leaveOf('alice', { all: true })), [' undefined,bob 3']);
});

test('a job begins with the interest of its owner; others join, leave, and the last to leave cancels it', (t) => {
  const { record, told } = after(
    request({ submitId: 'a' }),
    joinOf(bob),
    joinOf({ principal: 'carol', submitId: 'c' }),
    leaveOf('alice'),
    leaveOf('alice'),
    leaveOf('carol', { interest: 'c' }),
    leaveOf('bob'),
    leaveOf('bob'),
  );
  t.deepEqual(told, ['JobRequested', 'JobJoined', 'JobJoined', 'JobLeft', '', 'JobLeft', 'JobLeft JobCancelled', '']);
  t.is(record.job.state, JobState.CANCELLED);
  t.is(record.job.cancelledBy, 'bob');
  t.deepEqual(names(after(request({ submitId: 'a' }), joinOf(bob)).record), ['alice a', 'bob event 1']);
});

test('who has no interest withdraws none, and several with names are told apart', (t) => {
  const two = [request(), joinOf({ ...bob, submitId: 'x' }), joinOf({ ...bob, submitId: 'y' })];
  t.is(after(...two, leaveOf('eve')).told.at(-1), 'NO_INTEREST');
  t.is(after(...two, leaveOf('bob', { interest: 'z' })).told.at(-1), 'NO_INTEREST');
  // That of another principal with the same name is another.
  t.is(after(...two, leaveOf('alice', { interest: 'x' })).told.at(-1), 'NO_INTEREST');
  const error = decide(after(...two).record, leaveOf('bob')) as MemoirError;
  t.is(error.reason, 'INTEREST_AMBIGUOUS');
  t.regex(error.message, /"x", "y"/);
  t.is(after(...two, leaveOf('bob', { all: true })).told.at(-1), 'JobLeft JobLeft');
  t.is(after(...two, joinOf(bob), leaveOf('bob')).told.at(-1), 'JobLeft');
  t.deepEqual(names(after(...two, leaveOf('bob', { interest: 'x' })).record), ['alice event 0', 'bob y']);
});

test('what is finished is not joined, and only a repeat is still answered', (t) => {
  t.is(after(request(), joinOf(bob), start, complete, joinOf(bob)).told.at(-1), 'JOB_CHANGED');
  // With a submit_id it was recorded, by another server, and is the answer: to be decided anew would be to answer twice.
  const named = { ...bob, submitId: 'once' };
  t.deepEqual(after(request(), joinOf(named), start, complete, joinOf(named)).told.slice(1), [
    'JobJoined',
    'JobStarted',
    'JobCompleted',
    '',
  ]);
  t.is(after(request(), joinOf(named), start, joinOf(named, { state: JobState.QUEUED })).told.at(-1), '');
  t.is(
    after(request(), joinOf(named), start, complete, joinOf({ ...named, principal: 'eve' })).told.at(-1),
    'JOB_CHANGED',
  );
  t.is(after(request(), start, joinOf({ ...bob }, { state: JobState.QUEUED })).told.at(-1), 'JOB_CHANGED');
  t.is(after(request(), start, joinOf({ ...bob }, { state: JobState.RUNNING })).told.at(-1), 'JobJoined');
  t.is(after(request(), joinOf({ ...bob, submitId: 'x' }), start, complete, leaveOf('bob')).told.at(-1), 'WRONG_STATE');
  const left = [request(), joinOf({ ...bob, submitId: 'x' }), leaveOf('bob', { interest: 'x' }), start, complete];
  t.is(after(...left, leaveOf('bob', { interest: 'x' })).told.at(-1), '');
  // Neither does it join again.
  t.is(after(...left.slice(0, 3), joinOf({ ...bob, submitId: 'x' })).told.at(-1), '');
});

const joins: Record<string, [covered: boolean, first: Partial<JobJoined>, again: Partial<JobJoined>]> = {
  'the same': [true, {}, {}],
  'a lower priority': [true, { priority: 2 }, { priority: 1 }],
  'a higher priority': [false, { priority: 1 }, { priority: 2 }],
  'other labels': [true, { labels: { a: '1' } }, { labels: { a: '2' } }],
  'the same submit_id': [true, { submitId: 'x' }, { submitId: 'x', priority: 9 }],
  'another submit_id': [false, { submitId: 'x' }, { submitId: 'y' }],
  'a first submit_id': [false, {}, { submitId: 'y' }],
  'no submit_id any more': [false, { submitId: 'x' }, {}],
  'more cores': [false, {}, { minima: create(MinimaSchema, { cores: 9 }) }],
  'fewer cores': [true, { minima: create(MinimaSchema, { cores: 9 }) }, { minima: create(MinimaSchema, { cores: 3 }) }],
  'a limit': [true, {}, { limits: { queued: durationFromMs(1_000) } as never }],
  'no limit any more': [false, { limits: { queued: durationFromMs(1_000) } as never }, {}],
};

for (const [what, [covered, first, again]] of Object.entries(joins)) {
  test(`an interest ${covered ? 'covers' : 'does not cover'} a request with ${what}`, (t) => {
    const { told } = after(request(), joinOf({ ...bob, ...first }), joinOf({ ...bob, ...again }));
    t.deepEqual(told.slice(1), ['JobJoined', covered ? '' : 'JobJoined']);
  });
}

test('priority is the highest of those that stand, minima the largest until a worker claims it', (t) => {
  const minima = (cores: number, ram = 0) => create(MinimaSchema, { cores, ramMb: BigInt(ram) });
  const first = request({ priority: 1, runtimeConstraints: constraints(2, 100) });
  const urgent = joinOf({ ...bob, priority: 7, minima: minima(4) });
  const of = ({ record: { job } }: ReturnType<typeof after>) => [
    job.priority,
    job.minima?.cores ?? 0,
    Number(job.minima?.ramMb ?? 0n),
  ];
  t.deepEqual(of(after(first)), [1, 2, 100]);
  t.deepEqual(of(after(first, urgent)), [7, 4, 100]);
  t.deepEqual(of(after(first, urgent, leaveOf('bob'))), [1, 2, 100]);
  t.deepEqual(of(after(first, urgent, leaveOf('alice'))), [7, 4, 0]);
  t.deepEqual(of(after(first, start, urgent)), [7, 2, 100]);
  t.deepEqual(of(after(first, urgent, start, leaveOf('bob'))), [1, 4, 100]);
  // What is not granted is not asked for later either.
  const wide = { ...bob, minima: minima(64), decision: create(DecisionSchema, { summary: 'the same work' }) };
  const modest = joinOf(wide, { raisesMinima: (_, { cores, ramMb }) => `no worker offers ${cores} and ${ramMb}` });
  t.deepEqual(of(after(first, modest)), [1, 2, 100]);
  t.deepEqual(of(after(first, modest, leaveOf('alice'))), [0, 0, 0]);
  // Nor does who polls for it join again and again, unless it has come to be granted.
  t.is(after(first, modest, modest).told.at(-1), '');
  t.is(
    after(first, modest, joinOf({ ...wide, minima: minima(65) }, { raisesMinima: modest.raisesMinima })).told.at(-1),
    'JobJoined',
  );
  t.is(after(first, modest, joinOf(wide)).told.at(-1), 'JobJoined');
  const [joined] = decide(after(first).record, modest) as [JobJoined];
  t.is(joined.resultingMinima, undefined);
  t.is(
    joined.decision?.summary,
    'the same work; it is not made to ask for more of the place where it runs, since no worker offers 64 and 100',
  );
});

test('the priority of an interest is changed by whose it is, that of the whole job for all', (t) => {
  const update = (principal: string, priority: number, whose?: { interest?: string }): Command => ({
    kind: 'update',
    principal,
    priority,
    now: noon,
    ...(whose && { whose }),
  });
  const both = [request({ priority: 1 }), joinOf({ ...bob, priority: 5 })];
  const of = (...commands: Command[]) => {
    const { record } = after(...both, ...commands);
    return [record.job.priority, ...record.interests.standing.map(({ priority }) => priority)];
  };
  t.deepEqual(of(update('bob', 3, {})), [3, 1, 3]);
  t.deepEqual(of(update('bob', 0, {})), [1, 1, 0]);
  t.deepEqual(of(update('alice', 4, {})), [5, 4, 5]);
  t.deepEqual(of(update('eve', 9)), [9, 9, 9]);
  t.deepEqual(of(update('eve', 9), leaveOf('bob')), [9, 9]);
  t.is(after(...both, update('eve', 9, {})).told.at(-1), 'NO_INTEREST');
  const [updated] = decide(after(both[0] as Command).record, update('alice', 4, {})) as JobEvent[];
  // Of the only one it is that of the job, as in every earlier version.
  t.like(updated, { priority: 4, interest: '', updatedBy: 'alice' });
});

test(`more than ${mostInterests} interests do not stand on a job`, (t) => {
  const { record } = after(request());
  const [first] = record.interests.standing;
  const full = { ...record, interests: { ended: [], standing: Array(mostInterests).fill(first) } };
  t.deepEqual(decide(full, joinOf(bob)), []);
});

test('whatever is asked, what is told follows from those that stand, in an order that every reader can follow', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 6, arbitrary: anyWish }, fc.constant(start)), { maxLength: 25 }),
      (asked) => {
        let { record } = after(request({ priority: 3, runtimeConstraints: constraints(2) }));
        for (const command of asked) {
          const decided = decide(record, command);
          if (decided instanceof MemoirError) continue;
          for (const event of decided)
            record = evolve(record, event, record.job.revision + 1, `e${record.job.revision}`);
          const { standing, ended } = record.interests;
          const keys = [...standing, ...ended].map(({ principal, id }) => `${principal} ${id}`);
          t.is(new Set(keys).size, keys.length);
          if (isFinished(record.job.state)) {
            t.is(standing.length, 0);
            continue;
          }
          t.true(standing.length > 0);
          t.is(record.job.priority, Math.max(...standing.map(({ priority }) => priority)));
          if (record.attempt) continue;
          const least = largest(standing.map(({ minima }) => minima));
          t.true(isWithin(least, record.job.minima) && isWithin(record.job.minima, least));
        }
      },
    ),
    { numRuns: rounds(100, 300) },
  );
});

test('who has waited too long leaves, unless the job has been run', (t) => {
  const limit = leaveOf('memoir', { of: [{ principal: 'bob' }], interest: 'x', reason: 'QUEUE_LIMIT' });
  const waiting = [request(), joinOf({ ...bob, submitId: 'x', joinedAt: timestampFromMs(noon) })];
  t.is(after(...waiting, limit).told.at(-1), 'JobLeft');
  t.is(after(...waiting, start, limit).told.at(-1), '');
  t.is(after(...waiting, leaveOf('alice'), limit).told.at(-1), 'JobLeft JobCancelled');
});

test('a cascade withdraws all that the principals of a job want', (t) => {
  const all: Partial<LeaveCommand> = {
    of: [{ principal: 'alice' }, { principal: 'w', since: noon }],
    all: true,
    reason: 'CASCADE',
    cascadeFrom: 'p',
    cascade: true,
  };
  const { record, told } = after(request(), joinOf({ principal: 'w', submitId: 'x' }), leaveOf('carol', all));
  t.is(told.at(-1), 'JobLeft JobLeft JobCancelled');
  t.deepEqual(record.cancelled, { cascadeFrom: 'p', cascade: true });
  t.is(record.job.cancelledBy, 'carol');
  const later = { ...all, of: [{ principal: 'alice' }, { principal: 'w', since: noon + 1 }] };
  t.is(after(request(), joinOf({ principal: 'w', submitId: 'x' }), leaveOf('carol', later)).told.at(-1), 'JobLeft');
});

test('a join tells of no more than it changes', (t) => {
  const join: JoinCommand = joinOf({ ...bob, priority: 0 });
  const [event] = decide(after(request()).record, join) as [JobJoined];
  t.is(event.resultingPriority, undefined);
  t.is(event.resultingMinima, undefined);
  t.is(create(JobJoinedSchema).interest, event.interest);
});
