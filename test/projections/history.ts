import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type JobRequested, JobReusedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { Fault, RetryPolicySchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { ContentKind, DigestSchema } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { InputSchema } from '../../gen/memoir/jobs/v1/input_pb.js';
import { RuntimeConstraintsSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Command } from '../../src/domain/commands.js';
import { jobUuid } from '../../src/domain/computation.js';
import { MemoirError } from '../../src/domain/errors.js';
import type { MemoirEvent } from '../../src/domain/events.js';
import { evolve } from '../../src/domain/evolve.js';
import { decide, type JobRecord } from '../../src/domain/job.js';
import { jobStream, reuseStream } from '../../src/domain/streams.js';
import { encodeEvent } from '../../src/eventstore/codec.js';
import type { EventStore } from '../../src/eventstore/port.js';
import { anyCommand, anyRequest, anyWish, noon, requestOf } from '../domain/commands.js';

/** What happens to some jobs: a request, a command to the nth job so far, or an answer with it. */
export type Step =
  | { readonly kind: 'request'; readonly requested: JobRequested }
  | { readonly kind: 'command'; readonly job: number; readonly command: Command }
  | { readonly kind: 'reuse'; readonly job: number }
  /** The lease of the nth job runs out, or its back-off has passed and a worker claims it: as its stream tells of them. */
  | { readonly kind: 'expire' | 'claim'; readonly job: number };

const job = fc.nat(11);

/** Random histories of some jobs. */
export const anyHistory: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: anyRequest.map((requested) => ({ kind: 'request' as const, requested })) },
    { weight: 7, arbitrary: fc.record({ kind: fc.constant('command' as const), job, command: anyCommand }) },
    fc.record({ kind: fc.constant('reuse' as const), job }),
  ),
  { minLength: 5, maxLength: 60 },
);

const first = fc.constantFrom(0, 0, 0, 1);
const held = { worker: 'w1', now: noon + 5_000 };

/** Random histories of one or two jobs that are tried again and again. */
export const anyTrials: fc.Arbitrary<Step[]> = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('claim' as const), job: first }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('expire' as const), job: first }) },
      {
        weight: 6,
        arbitrary: fc.record({
          kind: fc.constant('command' as const),
          job: first,
          command: fc.constantFrom<Command>(
            { kind: 'heartbeat', ...held, progress: 0.5, progressMessage: 'half' },
            { kind: 'heartbeat', ...held, leaseMs: 90_000 },
            { kind: 'fail', ...held, reason: 'X', message: 'm', ...stored('a'), chance: 0.5 },
            { kind: 'fail', ...held, reason: 'PLACE_FAULT', message: '', log: '', fault: Fault.PLACE, chance: 0 },
            { kind: 'fail', ...held, reason: 'WORKER_STOPPED', message: '', log: '', givenBack: true, chance: 0 },
            { kind: 'update', priority: 7, now: noon },
          ),
        }),
      },
    ),
    { minLength: 18, maxLength: 24 },
  )
  .map((steps): Step[] => {
    const complete = { kind: 'complete', ...held, ...stored('b'), outputV1: 'sha256:aa' } as const;
    const retry = create(RetryPolicySchema, { lost: 9, failed: 9, ramFactor: 1 });
    const requests = [1, 2].map((trial) =>
      requestOf({
        retry,
        scriptParameters: { trial },
        inputs: [create(InputSchema, { pointer: '/trial' })].slice(trial - 1),
      }),
    );
    return [
      ...requests.map((requested) => ({ kind: 'request' as const, requested })),
      ...steps,
      { kind: 'command', job: 0, command: complete },
    ];
  });

/** An output and a log that servers keep. */
function stored(digit: string) {
  const hash = digit.repeat(64);
  return {
    output: `sha256:${hash}`,
    log: `sha256:${hash}`,
    outputDigest: create(DigestSchema, { hash, sizeBytes: 12n, kind: ContentKind.TREE }),
    logDigest: create(DigestSchema, { hash, sizeBytes: 12n, kind: ContentKind.BLOB }),
  };
}
/** Random histories of a job that several want and leave, and that is tried again with more memory. */
export const anySharing: fc.Arbitrary<Step[]> = fc
  .array(
    fc.oneof(
      { weight: 8, arbitrary: fc.record({ kind: fc.constant('command' as const), job: first, command: anyWish }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('claim' as const, 'expire' as const), job: first }) },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('command' as const),
          job: first,
          command: fc.constantFrom<Command>(
            { kind: 'heartbeat', ...held, leaseMs: 90_000 },
            { kind: 'fail', ...held, reason: 'OUT_OF_MEMORY', message: '', log: '', chance: 0 },
          ),
        }),
      },
    ),
    { minLength: 25, maxLength: 40 },
  )
  .map((steps): Step[] => {
    const retry = create(RetryPolicySchema, { lost: 9, failed: 9, ramFactor: 1.5 });
    const runtimeConstraints = create(RuntimeConstraintsSchema, { minCoresPerNode: 2, minRamMbPerNode: 100 });
    const wanted = [{ runtimeConstraints }, {}].map((more, n) =>
      requestOf({ retry, scriptParameters: { n }, ...more }),
    );
    return [...wanted.map((requested) => ({ kind: 'request' as const, requested })), ...steps];
  });

/** What the log should tell: the jobs as `evolve` knows them, by uuid, each with the position of its JobRequested. */
export type Told = Map<string, { record: JobRecord; position: number }>;

/** Appends an event and gives its position. */
export async function append(
  store: EventStore,
  stream: string,
  event: MemoirEvent,
  id = randomUUID(),
): Promise<number> {
  const { position } = await store.append(stream, 'any', [encodeEvent(id, event, '{"principal":"alice"}')]);
  return position;
}

/** Components with the uuids of jobs that are there, as far as there are any. */
function ofJobs(components: Readonly<Record<string, string>>, told: Told): Record<string, string> {
  const uuids = [...told.keys()];
  return Object.fromEntries(
    Object.entries(components).map(([name, text], i) => [name, uuids[(text.length + i) % uuids.length] ?? text]),
  );
}

/**
 * Lets a history happen, by the decisions of the domain, and adds what it tells to `told`. `onTold` is called with the position of each
 * event once `told` has it.
 */
export async function happen(
  store: EventStore,
  steps: readonly Step[],
  told: Told,
  onTold: (position: number) => void = () => undefined,
): Promise<void> {
  for (const step of steps) {
    if (step.kind === 'request') {
      const { computationDigest } = step.requested;
      let runNumber = 1;
      while (told.has(jobUuid(computationDigest, runNumber))) runNumber++;
      const components = ofJobs(step.requested.components, told);
      const requested = { ...step.requested, runNumber, uuid: jobUuid(computationDigest, runNumber), components };
      await command(store, told, requested.uuid, { kind: 'request', requested }, onTold);
      continue;
    }
    const uuid = [...told.keys()][step.job];
    if (uuid === undefined) continue;
    if (step.kind === 'expire' || step.kind === 'claim') {
      const { leaseRevision, backOff, job } = (told.get(uuid) as { record: JobRecord }).record;
      const asked: Command =
        step.kind === 'expire'
          ? { kind: 'expire_lease', leaseRevision, chance: 0.5, now: noon + 9_000 }
          : {
              kind: 'start',
              ...held,
              // Of each attempt its own; most are of the worker whose commands they are.
              ...(job.attemptCount % 3 === 2 && { worker: 'w2' }),
              tokenDigest: `token ${job.revision}`,
              tokenMade: true,
              waited: backOff?.revision,
              leaseMs: 60_000,
              now: noon + 1_000,
            };
      await command(store, told, uuid, asked, onTold);
      continue;
    }
    if (step.kind === 'command') {
      const { command: one } = step;
      const changed =
        one.kind === 'update' && one.components ? { ...one, components: ofJobs(one.components, told) } : one;
      await command(store, told, uuid, changed, onTold);
    } else onTold(await append(store, reuseStream(uuid), create(JobReusedSchema, { uuid, requestedBy: 'bob' })));
  }
}

async function command(
  store: EventStore,
  told: Told,
  uuid: string,
  asked: Command,
  onTold: (position: number) => void,
): Promise<void> {
  const before = told.get(uuid);
  const decided = decide(before?.record, asked);
  if (decided instanceof MemoirError) return;
  for (const event of decided) {
    const id = randomUUID();
    const position = await append(store, jobStream(uuid), event, id);
    const known = told.get(uuid);
    const record = evolve(known?.record, event, known ? known.record.job.revision + 1 : 0, id);
    told.set(uuid, { record, position: known?.position ?? position });
    onTold(position);
  }
}
