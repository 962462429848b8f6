import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type JobRequested, JobReusedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { Command } from '../../src/domain/commands.js';
import { jobUuid } from '../../src/domain/computation.js';
import { MemoirError } from '../../src/domain/errors.js';
import type { MemoirEvent } from '../../src/domain/events.js';
import { evolve } from '../../src/domain/evolve.js';
import { decide, type JobRecord } from '../../src/domain/job.js';
import { jobStream, reuseStream } from '../../src/domain/streams.js';
import { encodeEvent } from '../../src/eventstore/codec.js';
import type { EventStore } from '../../src/eventstore/port.js';
import { anyCommand, anyRequest } from '../domain/commands.js';

/** What happens to some jobs: a request, a command to the nth job so far, or an answer with it. */
export type Step =
  | { readonly kind: 'request'; readonly requested: JobRequested }
  | { readonly kind: 'command'; readonly job: number; readonly command: Command }
  | { readonly kind: 'reuse'; readonly job: number };

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

/** Lets a history happen, by the decisions of the domain, and adds what it tells to `told`. */
export async function happen(store: EventStore, steps: readonly Step[], told: Told): Promise<void> {
  for (const step of steps) {
    if (step.kind === 'request') {
      const { computationDigest } = step.requested;
      let runNumber = 1;
      while (told.has(jobUuid(computationDigest, runNumber))) runNumber++;
      const requested = { ...step.requested, runNumber, uuid: jobUuid(computationDigest, runNumber) };
      await command(store, told, requested.uuid, { kind: 'request', requested });
      continue;
    }
    const uuid = [...told.keys()][step.job];
    if (uuid === undefined) continue;
    if (step.kind === 'command') await command(store, told, uuid, step.command);
    else await append(store, reuseStream(uuid), create(JobReusedSchema, { uuid, requestedBy: 'bob' }));
  }
}

async function command(store: EventStore, told: Told, uuid: string, asked: Command): Promise<void> {
  const before = told.get(uuid);
  const decided = decide(before?.record, asked);
  if (decided instanceof MemoirError) return;
  for (const event of decided) {
    const id = randomUUID();
    const position = await append(store, jobStream(uuid), event, id);
    const known = told.get(uuid);
    const record = evolve(known?.record, event, known ? known.record.job.revision + 1 : 0, id);
    told.set(uuid, { record, position: known?.position ?? position });
  }
}
