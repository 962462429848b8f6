import { create, equals, fromJson, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import fc from 'fast-check';
import { JobSchema, JobState, TasksSummarySchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Command } from '../../src/domain/commands.js';
import { MemoirError } from '../../src/domain/errors.js';
import type { JobEvent } from '../../src/domain/events.js';
import { evolve } from '../../src/domain/evolve.js';
import { decide, isFinished, type JobRecord, stateName } from '../../src/domain/job.js';
import { decodeEvent, encodeEvent } from '../../src/eventstore/codec.js';
import { rounds } from '../support/rounds.js';
import { anyCommand, anyRequest, noon, requestOf } from './commands.js';

const uuid = requestOf().uuid;

/** The record after all commands, each of which must be accepted. */
function after(...commands: Command[]): JobRecord | undefined {
  let record: JobRecord | undefined;
  let revision = -1;
  for (const command of commands) {
    const decided = decide(record, command);
    if (decided instanceof MemoirError) throw decided;
    for (const event of decided) record = evolve(record, event, ++revision, `event ${revision}`);
  }
  return record;
}

const request: Command = { kind: 'request', requested: requestOf() };
const start: Command = { kind: 'start', worker: 'w1', leaseMs: 60_000, now: noon + 1_000 };
const complete: Command = { kind: 'complete', worker: 'w1', output: 'o', log: 'l', now: noon + 9_000 };
const fail: Command = {
  kind: 'fail',
  worker: 'w1',
  reason: 'SCRIPT_FAILED',
  message: 'exit 1',
  log: 'l',
  now: noon + 9_000,
};
const cancel: Command = { kind: 'cancel', principal: 'bob', cascadeFrom: '', now: noon + 9_000 };
const remove: Command = { kind: 'delete', principal: 'bob', now: noon + 10_000 };

const states: Record<string, JobRecord | undefined> = {
  none: undefined,
  queued: after(request),
  running: after(request, start),
  complete: after(request, start, complete),
  failed: after(request, start, fail),
  given_up: after(request, cancel),
  stopped: after(request, start, cancel),
  deleted: after(request, cancel, remove),
};

const commands: Record<string, Command> = {
  request,
  start,
  heartbeat: { kind: 'heartbeat', worker: 'w1', now: noon },
  'heartbeat of another': { kind: 'heartbeat', worker: 'w2', now: noon },
  complete,
  'complete by another': { ...complete, worker: 'w2' },
  fail,
  'fail by another': { ...fail, worker: 'w2' },
  'expiry of the lease': { kind: 'expire_lease', leaseRevision: 1, now: noon },
  'expiry of an older lease': { kind: 'expire_lease', leaseRevision: 0, now: noon },
  cancel,
  update: { kind: 'update', priority: 3, now: noon },
  'update of the description': { kind: 'update', description: 'd', now: noon },
  'update of another revision': { kind: 'update', expectedRevision: 77, priority: 3, now: noon },
  delete: remove,
  'delete by another': { ...remove, principal: 'eve' },
};

// Each column is a state of `states`, in its order. An event, "-" for nothing to record, or the reason of a refusal.
const table: Record<string, string> = {
  request: 'JobRequested | JOB_EXISTS | JOB_EXISTS | JOB_EXISTS | JOB_EXISTS | JOB_EXISTS | JOB_EXISTS | JOB_EXISTS',
  start:
    'JOB_NOT_FOUND | JobStarted | WRONG_STATE | WRONG_STATE | WRONG_STATE | WRONG_STATE | WRONG_STATE | JOB_NOT_FOUND',
  heartbeat: 'JOB_NOT_FOUND | NOT_YOUR_JOB | JobProgressed | - | - | NOT_YOUR_JOB | - | JOB_NOT_FOUND',
  'heartbeat of another':
    'JOB_NOT_FOUND | NOT_YOUR_JOB | NOT_YOUR_JOB | NOT_YOUR_JOB | NOT_YOUR_JOB | NOT_YOUR_JOB | NOT_YOUR_JOB | JOB_NOT_FOUND',
  // The report, cancellation or deletion that ended the job, repeated, changes nothing.
  complete: 'JOB_NOT_FOUND | WRONG_STATE | JobCompleted | - | WRONG_STATE | WRONG_STATE | WRONG_STATE | JOB_NOT_FOUND',
  'complete by another':
    'JOB_NOT_FOUND | WRONG_STATE | NOT_YOUR_JOB | WRONG_STATE | WRONG_STATE | WRONG_STATE | WRONG_STATE | JOB_NOT_FOUND',
  fail: 'JOB_NOT_FOUND | WRONG_STATE | JobFailed | WRONG_STATE | - | WRONG_STATE | WRONG_STATE | JOB_NOT_FOUND',
  'fail by another':
    'JOB_NOT_FOUND | WRONG_STATE | NOT_YOUR_JOB | WRONG_STATE | WRONG_STATE | WRONG_STATE | WRONG_STATE | JOB_NOT_FOUND',
  'expiry of the lease': 'JOB_NOT_FOUND | - | JobFailed | - | - | - | - | JOB_NOT_FOUND',
  'expiry of an older lease': 'JOB_NOT_FOUND | - | - | - | - | - | - | JOB_NOT_FOUND',
  cancel: 'JOB_NOT_FOUND | JobCancelled | JobCancelled | WRONG_STATE | WRONG_STATE | - | - | JOB_NOT_FOUND',
  update:
    'JOB_NOT_FOUND | JobUpdated | JobUpdated | JOB_FINISHED | JOB_FINISHED | JOB_FINISHED | JOB_FINISHED | JOB_NOT_FOUND',
  'update of the description':
    'JOB_NOT_FOUND | JobUpdated | JobUpdated | JobUpdated | JobUpdated | JobUpdated | JobUpdated | JOB_NOT_FOUND',
  'update of another revision':
    'JOB_NOT_FOUND | REVISION_MISMATCH | REVISION_MISMATCH | REVISION_MISMATCH | REVISION_MISMATCH | REVISION_MISMATCH | REVISION_MISMATCH | JOB_NOT_FOUND',
  delete: 'JOB_NOT_FOUND | JOB_NOT_FINISHED | JOB_NOT_FINISHED | JobDeleted | JobDeleted | JobDeleted | JobDeleted | -',
  'delete by another':
    'JOB_NOT_FOUND | JOB_NOT_FINISHED | JOB_NOT_FINISHED | JobDeleted | JobDeleted | JobDeleted | JobDeleted | JOB_NOT_FOUND',
};

const codes: Record<string, string> = {
  JOB_EXISTS: 'ALREADY_EXISTS',
  JOB_NOT_FOUND: 'NOT_FOUND',
  WRONG_STATE: 'FAILED_PRECONDITION',
  JOB_NOT_FINISHED: 'FAILED_PRECONDITION',
  JOB_FINISHED: 'FAILED_PRECONDITION',
  NOT_YOUR_JOB: 'PERMISSION_DENIED',
  REVISION_MISMATCH: 'ABORTED',
};

test('every command in every state', (t) => {
  t.deepEqual(Object.keys(table), Object.keys(commands));
  for (const [name, command] of Object.entries(commands)) {
    const found = Object.values(states).map((record) => {
      const decided = decide(record, command);
      if (!(decided instanceof MemoirError)) {
        return decided.map(({ $typeName }) => $typeName.replace('memoir.events.v1.', '')).join() || '-';
      }
      t.is(decided.code as string, codes[decided.reason] ?? '', name);
      if (record && !record.deleted) t.true(decided.message.includes(uuid), decided.message);
      return decided.reason;
    });
    t.is(found.join(' | '), table[name] ?? '', name);
  }
});

test('who speaks for an attempt: the token decides where there is one', (t) => {
  const claims: Record<string, Command> = {
    'own token': { ...start, tokenDigest: 'a' },
    'token made': { ...start, tokenDigest: 'a', tokenMade: true },
    'older version': start,
  };
  // Calls with the token, with another, with none.
  const expected: Record<string, string> = {
    'own token': 'ok | ATTEMPT_ENDED | ATTEMPT_ENDED',
    'token made': 'ok | ATTEMPT_ENDED | ok',
    'older version': 'ok | ok | ok',
  };
  const heartbeat: Command = { kind: 'heartbeat', worker: 'w1', now: noon };
  for (const [name, claim] of Object.entries(claims)) {
    for (const command of [heartbeat, complete, fail]) {
      for (const end of [undefined, complete, fail]) {
        // What ended the attempt carries its token; of a report that ended it already, the token still decides.
        const ending = end && ({ ...end, tokenDigest: name === 'older version' ? undefined : 'a' } as Command);
        const record = ending ? after(request, claim, ending) : after(request, claim);
        const said = ['a', 'b', undefined].map((tokenDigest) => {
          const decided = decide(record, { ...command, tokenDigest } as Command);
          if (!(decided instanceof MemoirError)) return 'ok';
          if (decided.reason === 'WRONG_STATE') return command !== heartbeat && end !== command ? 'ok' : 'WRONG_STATE';
          t.is(decided.code, 'FAILED_PRECONDITION');
          t.true(decided.message.includes(uuid) && decided.message.includes('attempt 1'), decided.message);
          return decided.reason;
        });
        t.is(said.join(' | '), expected[name] ?? '', `${name}: ${command.kind} after ${end?.kind}`);
      }
    }
    // Nobody else speaks for it, whatever the token.
    const stranger = decide(after(request, claim), { ...heartbeat, worker: 'w2', tokenDigest: 'a' });
    t.is((stranger as MemoirError).reason, 'NOT_YOUR_JOB');
  }
});

test('a claim repeated with its token changes nothing while the attempt stands, and nobody else may repeat it', (t) => {
  const claim: Command = { ...start, tokenDigest: 'a' };
  const running = after(request, claim);
  t.deepEqual(decide(running, claim), []);
  for (const other of [start, { ...claim, tokenDigest: 'b' }, { ...claim, worker: 'w2' }] as Command[]) {
    t.is((decide(running, other) as MemoirError).reason, 'WRONG_STATE');
  }
  t.is(
    (decide(after(request, claim, { ...fail, tokenDigest: 'a' } as Command), claim) as MemoirError).reason,
    'WRONG_STATE',
  );
});

test('a report that ended the job is repeated only with the same content', (t) => {
  const tasksSummary = create(TasksSummarySchema, { done: 2 });
  const completed = after(request, start, { ...complete, tasksSummary } as Command);
  t.deepEqual(decide(completed, { ...complete, tasksSummary, now: noon + 20_000 } as Command), []);
  const failed = after(request, start, fail);
  const others: [JobRecord | undefined, Command][] = [
    [completed, { ...complete, output: 'other' } as Command],
    [completed, { ...complete, log: 'other' } as Command],
    [completed, { ...complete, tasksSummary: create(TasksSummarySchema, { done: 3 }) } as Command],
    [completed, fail],
    [failed, { ...fail, reason: 'X' } as Command],
    [failed, { ...fail, message: 'other' } as Command],
    [failed, { ...fail, log: 'other' } as Command],
    [failed, { ...fail, tasksSummary } as Command],
    [after(request, start, commands['expiry of the lease'] as Command), complete],
  ];
  for (const [record, command] of others) t.is((decide(record, command) as MemoirError).reason, 'WRONG_STATE');
});

test('a refusal names both states', (t) => {
  const message = (state: string, command: Command) => (decide(states[state], command) as MemoirError).message;
  t.is(message('complete', cancel), `job ${uuid} is Complete and cannot become Cancelled`);
  t.is(message('running', start), `job ${uuid} is Running and cannot become Running`);
  t.is(message('queued', complete), `job ${uuid} is Queued and cannot become Complete`);
  t.is(message('given_up', fail), `job ${uuid} is Cancelled and cannot become Failed`);
  t.regex(message('running', remove), /is Running and can be deleted only when it has finished/);
  t.regex(message('running', { ...complete, worker: 'w2' }), /claimed by another worker, not by w2/);
  t.regex(message('queued', { kind: 'heartbeat', worker: 'w2', now: noon }), /claimed by no worker, not by w2/);
});

test('states by name', (t) => {
  const names = [1, 2, 3, 4, 5].map((state) => stateName(state));
  t.deepEqual(names, ['Queued', 'Running', 'Complete', 'Failed', 'Cancelled']);
  t.deepEqual([1, 2, 3, 4, 5].filter(isFinished), [3, 4, 5]);
});

test('a whole life, field by field', (t) => {
  const tasksSummary = create(TasksSummarySchema, { todo: 1, done: 2 });
  const record = after(
    request,
    { kind: 'update', priority: 5, components: { part: 'p' }, now: noon },
    start,
    {
      kind: 'heartbeat',
      worker: 'w1',
      leaseMs: 5_500,
      progress: 0,
      progressMessage: 'began',
      tasksSummary,
      now: noon + 2_000,
    },
    { kind: 'heartbeat', worker: 'w1', now: noon + 3_000 },
    { kind: 'update', expectedRevision: 4, description: '', now: noon },
  );
  t.like(record, { deleted: false, leaseMs: 5_500, leaseRevision: 4 });
  const { scriptParameters, computationDigest, scriptVersion, suppliedScriptVersion, ...job } = toJson(
    JobSchema,
    record?.job ?? create(JobSchema),
  ) as Record<string, unknown>;
  t.deepEqual(job, {
    uuid,
    owner: 'alice',
    repository: 'weather',
    script: 'forecast.py',
    state: 'JOB_STATE_RUNNING',
    priority: 5,
    components: { part: 'p' },
    createdAt: '2026-01-02T12:00:00Z',
    startedAt: '2026-01-02T12:00:01Z',
    claimedBy: 'w1',
    leaveLfsPointers: true,
    leaveSubmodules: true,
    leaseExpiresAt: '2026-01-02T12:00:08.500Z',
    progress: 0,
    progressMessage: 'began',
    tasksSummary: { todo: 1, done: 2 },
    runNumber: 1,
    revision: 5,
    attempts: [{ number: 1, worker: 'w1', startedAt: '2026-01-02T12:00:01Z' }],
    attemptCount: 1,
    interestCount: 1,
    waitingSince: '2026-01-02T12:00:00Z',
    interests: [{ id: 'event 0', principal: 'alice', since: '2026-01-02T12:00:00Z', priority: 5 }],
  });
  const done = after(request, start, complete)?.job;
  t.like(done, { state: JobState.COMPLETE, output: 'o', log: 'l', leaseExpiresAt: undefined, revision: 2 });
  t.deepEqual(done?.finishedAt, timestampFromMs(noon + 9_000));
  const expired = after(request, start, commands['expiry of the lease'] as Command);
  t.like(expired, { leaseMs: 0, leaseRevision: -1 });
  t.like(expired?.job, { state: JobState.FAILED, failureReason: 'LEASE_EXPIRED', leaseExpiresAt: undefined });
  t.is(expired?.job.failureMessage, 'worker w1 sent no heartbeat within its lease of 60 s');
  const stopped = after(request, start, { ...cancel, cascadeFrom: 'u' })?.job;
  t.like(stopped, { state: JobState.CANCELLED, cancelledBy: 'bob', finishedAt: undefined, claimedBy: 'w1' });
});

test('a stream that does not begin with JobRequested is an error', (t) => {
  const [event] = decide(states.queued, start) as JobEvent[];
  t.throws(() => evolve(undefined, event as JobEvent, 0, 'id'), {
    message: /JobStarted at revision 0 of a stream without/,
  });
});

test('whatever is asked: finished stays finished, revisions count, and the stream tells the record', (t) => {
  fc.assert(
    fc.property(anyRequest, fc.array(anyCommand, { maxLength: 25 }), (requested, asked) => {
      const stream: JobEvent[] = [];
      let record: JobRecord | undefined;
      for (const command of [{ kind: 'request', requested } as Command, ...asked]) {
        const before = record;
        const frozen = before && toJson(JobSchema, before.job);
        const decided = decide(record, command);
        // Whoever leaves withdraws all that it wants at once.
        t.true(
          decided instanceof MemoirError ||
            decided.length <= 2 ||
            command.kind === 'leave' ||
            command.kind === 'update',
        );
        if (decided instanceof MemoirError) continue;
        for (const event of decided) {
          record = evolve(record, event, stream.length, `event ${stream.length}`);
          stream.push(event);
        }
        const job = (record as JobRecord).job;
        t.is(job.revision, stream.length - 1);
        t.is(record?.leaseRevision === -1, job.state !== JobState.RUNNING);
        t.is(job.leaseExpiresAt === undefined, job.state !== JobState.RUNNING);
        if (!before) continue;
        t.deepEqual(toJson(JobSchema, before.job), frozen, 'evolve changed its argument');
        if (isFinished(before.job.state)) t.is(job.state, before.job.state);
        if (before.deleted) t.is(decided.length, 0);
      }
      // Through the store and back.
      let replayed: JobRecord | undefined;
      for (const [revision, event] of stream.entries()) {
        const { type, data } = encodeEvent('id', event, '{}');
        replayed = evolve(
          replayed,
          decodeEvent({ type, data, stream: 's', revision }) as JobEvent,
          revision,
          `event ${revision}`,
        );
      }
      const { job, ...rest } = record as JobRecord;
      const { job: same, ...others } = replayed as JobRecord;
      t.deepEqual(others, rest);
      t.true(equals(JobSchema, job, same));
      // As texts, since JSON has no -0.
      const text = (value: typeof job) => JSON.stringify(toJson(JobSchema, value));
      t.is(text(fromJson(JobSchema, JSON.parse(text(job)))), text(same));
    }),
    { numRuns: rounds(150, 500) },
  );
});
