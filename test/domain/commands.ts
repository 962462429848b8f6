import { hash } from 'node:crypto';
import { create, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import {
  type JobJoined,
  JobJoinedSchema,
  type JobRequested,
  JobRequestedSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { Fault, MinimaSchema, RetryPolicySchema, TimeLimitsSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { ContentKind, DigestSchema } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { RuntimeConstraintsSchema, TasksSummarySchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Command } from '../../src/domain/commands.js';
import { computationDigest, jcsDigest, jobUuid } from '../../src/domain/computation.js';
import type { JoinCommand, LeaveCommand } from '../../src/domain/interests/commands.js';
import { addressOf } from '../../src/domain/outputs/digest.js';

/** Of every other output that servers keep it, with its two addresses. */
function keptOutput(output: string) {
  if (output.length % 2 === 0) return {};
  const outputDigest = create(DigestSchema, { hash: hash('sha256', output), sizeBytes: 12n, kind: ContentKind.TREE });
  return { output: addressOf(outputDigest), outputDigest, outputV1: `v1:${output}` };
}

/** A moment for tests, in milliseconds since 1970-01-01T00:00Z. */
export const noon = Date.UTC(2026, 0, 2, 12);

/** The event of a job that was requested, with the facts that matter to a test. */
export function requestOf(facts: MessageInitShape<typeof JobRequestedSchema> = {}, runNumber = 1): JobRequested {
  const scriptParameters: JsonObject = facts.scriptParameters ?? { n: 1 };
  const [repository, script] = [facts.repository ?? 'weather', facts.script ?? 'forecast.py'];
  const digest = computationDigest({ repository, script, scriptParameters });
  return create(JobRequestedSchema, {
    uuid: jobUuid(digest, runNumber),
    owner: 'alice',
    repository,
    script,
    scriptVersion: 'c0ffee0000000000000000000000000000000001',
    suppliedScriptVersion: 'main',
    scriptParameters,
    parametersDigest: jcsDigest(scriptParameters),
    computationDigest: digest,
    runNumber,
    requestedAt: timestampFromMs(noon),
    ...facts,
  });
}

const text = fc.oneof(fc.constantFrom('', 'sha256:aa', '日本\n"'), fc.string({ unit: 'grapheme', maxLength: 12 }));
const worker = fc.constantFrom('w1', 'w1', 'w1', 'w2');
const tokenDigest = fc.constantFrom(undefined, undefined, 'token 1', 'token 1', 'token 2');
const now = fc.integer({ min: noon, max: noon + 10_000_000 });
const leaseMs = fc.integer({ min: 1_000, max: 3_600_000 });
const count = fc.nat(2 ** 32 - 1);
const tasksSummary = fc
  .record({ todo: count, running: count, done: count, failed: count })
  .map((counts) => create(TasksSummarySchema, counts));
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const names = fc.dictionary(fc.oneof(fc.constant('__proto__'), fc.string({ maxLength: 5 })), fc.uuid(), { maxKeys: 3 });

const anyRetry = fc
  .record({
    lost: fc.nat(3),
    failed: fc.nat(2),
    minBackoff: fc.constantFrom(0, 0, 1_000).map((ms) => durationFromMs(ms)),
    maxBackoff: fc.constantFrom(0, 300_000).map((ms) => durationFromMs(ms)),
    ramFactor: fc.constantFrom(1, 2),
  })
  .map((policy) => create(RetryPolicySchema, policy));
const chance = fc.constantFrom(undefined, 0, 0.5, 0.999);

/** Requests of jobs of few computations. */
export const anyRequest: fc.Arbitrary<JobRequested> = fc
  .record({
    owner: fc.constantFrom('alice', 'bob'),
    repository: fc.constantFrom('weather', 'climate/long-term'),
    scriptParameters: fc.oneof(
      fc.constantFrom({}, { n: 1 }, { n: '1' }),
      fc.dictionary(text, fc.jsonValue(), { maxKeys: 3 }),
    ),
    priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    submitId: fc.constantFrom('', '', 'again'),
    nondeterministic: fc.boolean(),
    description: text,
    dockerImageLocator: fc.constantFrom('', 'image:1'),
    requestedAt: now.map(timestampFromMs),
    components: names,
    labels: names,
    retry: maybe(anyRetry),
    limits: maybe(fc.record({ run: fc.constant(durationFromMs(5_000)) }).map((one) => create(TimeLimitsSchema, one))),
    constraints: maybe(
      fc.record({
        dockerImage: text,
        minNodes: fc.nat(9),
        maxNodes: maybe(count),
        cores: maybe(fc.nat(8)),
        ram: maybe(fc.nat(999)),
      }),
    ),
  })
  .map(({ constraints, scriptParameters, retry, limits, ...facts }) =>
    requestOf({
      ...facts,
      ...(retry && { retry }),
      ...(limits && { limits }),
      scriptParameters: scriptParameters as JsonObject,
      ...(constraints && {
        runtimeConstraints: create(RuntimeConstraintsSchema, {
          dockerImage: constraints.dockerImage,
          minNodes: constraints.minNodes,
          ...(constraints.maxNodes !== undefined && { maxNodes: constraints.maxNodes }),
          ...(constraints.cores !== undefined && { minCoresPerNode: constraints.cores }),
          ...(constraints.ram !== undefined && { minRamMbPerNode: constraints.ram }),
        }),
      }),
    }),
  );

/** What workers and the owner can ask of a job that is there. The first kinds come more often, so that sequences reach every state. */
const anyOwnCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('start' as const),
      worker,
      tokenDigest,
      tokenMade: fc.boolean(),
      workerName: text,
      waited: maybe(fc.nat(8)),
      leaseMs,
      now,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('heartbeat' as const),
      worker,
      tokenDigest,
      leaseMs: maybe(leaseMs),
      tasksSummary: maybe(tasksSummary),
      progress: maybe(fc.constantFrom(0, 0.25, 1)),
      progressMessage: maybe(text),
      now,
    }),
  },
  fc
    .record({
      kind: fc.constant('complete' as const),
      worker,
      tokenDigest,
      output: text,
      log: text,
      tasksSummary: maybe(tasksSummary),
      now,
    })
    .map((command) => ({ ...command, ...keptOutput(command.output) })),
  fc.record({
    kind: fc.constant('fail' as const),
    worker,
    tokenDigest,
    reason: fc.constantFrom('SCRIPT_FAILED', 'X', 'OUT_OF_MEMORY'),
    fault: fc.constantFrom(Fault.SCRIPT, Fault.PLACE, Fault.WORKER),
    output: text,
    givenBack: fc.boolean(),
    chance,
    message: text,
    log: text,
    tasksSummary: maybe(tasksSummary),
    now,
  }),
  fc.record({
    kind: fc.constant('expire_lease' as const),
    leaseRevision: fc.integer({ min: -1, max: 6 }),
    chance,
    now,
  }),
  fc.record({ kind: fc.constant('expire_run' as const), attempt: fc.integer({ min: 1, max: 3 }), chance, now }),
  fc.record({
    kind: fc.constant('cancel' as const),
    principal: fc.constantFrom('alice', 'bob'),
    cascadeFrom: fc.constant(''),
    now,
  }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      expectedRevision: maybe(fc.nat(5)),
      priority: maybe(fc.integer({ min: -9, max: 9 })),
      description: maybe(text),
      components: maybe(names),
      labels: maybe(names),
      now,
    }),
  },
  fc.record({ kind: fc.constant('delete' as const), principal: fc.constantFrom('alice', 'bob'), now }),
  fc.constant({ kind: 'request' as const, requested: requestOf() }),
);

/** The wish to be answered with an unfinished job. */
export function joinOf(facts: Partial<JobJoined>, command: Partial<JoinCommand> = {}): JoinCommand {
  const joined = { ...create(JobJoinedSchema, { joinedAt: timestampFromMs(noon) }), ...facts };
  return { kind: 'join', joined, raisesMinima: () => undefined, now: noon, ...command };
}

/** That a principal's interests end. */
export function leaveOf(principal: string, command: Partial<LeaveCommand> = {}): LeaveCommand {
  const usual = { reason: 'WITHDRAWN', cascadeFrom: '', cascade: false, now: noon } as const;
  return { kind: 'leave', principal, ...usual, ...command };
}

const principal = fc.constantFrom('alice', 'bob', 'carol');
const priority = fc.integer({ min: -5, max: 9 });

/** What is asked by who wants a job, or wants it no longer. */
export const anyWish: fc.Arbitrary<Command> = fc.oneof(
  fc
    .record({
      principal,
      submitId: fc.constantFrom('', '', 'x', 'y'),
      priority,
      labels: names,
      joinedAt: now.map(timestampFromMs),
      minima: maybe(fc.record({ cores: fc.nat(64), ramMb: fc.bigInt({ min: 0n, max: 9_999n }) })),
      queued: maybe(fc.constantFrom(1_000, 5_000)),
      raisesMinima: fc.boolean(),
    })
    .map(({ minima, queued, raisesMinima, ...facts }) =>
      joinOf(
        {
          ...facts,
          ...(minima && { minima: create(MinimaSchema, minima) }),
          ...(queued && { limits: create(TimeLimitsSchema, { queued: durationFromMs(queued) }) }),
        },
        { raisesMinima: () => (raisesMinima ? undefined : 'no worker offers it') },
      ),
    ),
  fc
    .record({ by: principal, named: fc.constantFrom('', '', 'x', 'y'), all: fc.boolean(), now })
    .map(({ by, named, all, ...at }) => leaveOf(by, { ...(named && { interest: named }), all, ...at })),
  fc
    .record({ principal, priority, whose: maybe(fc.constantFrom({}, { interest: 'x' })), now })
    .map(({ whose, ...facts }) => ({ kind: 'update' as const, ...facts, ...(whose && { whose }) })),
);

/** What can be asked of a job that is there. */
export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: anyOwnCommand },
  { weight: 1, arbitrary: anyWish },
);
