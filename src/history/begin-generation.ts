import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type GenerationStarted,
  GenerationStarted_Reason,
  GenerationStartedSchema,
  type RunNumbersTaken,
  RunNumbersTakenSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { firstGeneration } from '../domain/generation.js';
import { generationStream } from '../domain/streams.js';
import type { Edge } from '../edge.js';
import { judged } from '../eventstore/foreign.js';
import type { Contradiction } from '../eventstore/kept-places.js';
import { lastOfStream } from '../eventstore/last-event.js';
import type { EventLog, EventStore } from '../eventstore/port.js';
import { serverItself } from '../jobs/caller.js';
import { eventOfCall } from '../jobs/event-of-call.js';
import { serverVersion } from '../version.js';

/** Computations in one event: some 400 kB, so that every store takes it. */
const perEvent = 4_000;

/** Why a generation begins: what is known of the log that it had, as far as anything is. */
export type Cause = Pick<Contradiction, 'kind'> & Partial<Contradiction>;

/** The last run of a computation that was given. */
export type LostRuns = { readonly computationDigest: string; readonly lastRun: number };

/**
 * Records that servers go on with a log that is not what was known of it, in a generation with this id, and the runs that are not to be
 * given again.
 * @returns the number of the generation that begins
 * @throws WrongExpectedRevision if another server does so at the same moment; otherwise as `append`
 */
export async function beginGeneration(
  store: EventStore,
  edge: Edge,
  { kind, known, found }: Cause,
  runs: readonly LostRuns[],
  id = edge.uuid(),
): Promise<number> {
  const before = await lastGeneration(store);
  const generation = (before?.generation ?? firstGeneration.number) + 1;
  const append = await recordLostRuns(store, edge, runs);
  await append(
    create(GenerationStartedSchema, {
      generation,
      id,
      reason: kind === 'other' ? GenerationStarted_Reason.OTHER_LOG : GenerationStarted_Reason.SHORTER_LOG,
      ...(known && { known: { position: BigInt(known.position), eventId: known.eventId } }),
      ...(found && { found: { position: BigInt(found.position), eventId: found.eventId } }),
      startedAt: timestampFromMs(edge.now()),
    }),
  );
  return generation;
}

/**
 * Records runs that are not to be given again, and gives what appends behind them.
 * @throws as `beginGeneration`
 */
export async function recordLostRuns(
  store: EventStore,
  edge: Edge,
  runs: readonly LostRuns[],
): Promise<(event: GenerationStarted | RunNumbersTaken) => Promise<void>> {
  let revision = (await lastOfStream(store, generationStream))?.revision ?? -1;
  async function append(event: GenerationStarted | RunNumbersTaken): Promise<void> {
    const encoded = eventOfCall({ edge, serverVersion }, serverItself(edge), event);
    ({ revision } = await store.append(generationStream, revision < 0 ? 'no_stream' : revision, [encoded]));
  }
  for (let i = 0; i < runs.length; i += perEvent) {
    await append(create(RunNumbersTakenSchema, { computations: runs.slice(i, i + perEvent) }));
  }
  return append;
}

/** Whether the generation that the log is in began because of just this. */
export async function isAccepted(log: EventLog, { known }: Contradiction): Promise<boolean> {
  const last = await lastGeneration(log);
  return last?.known?.eventId === known.eventId && Number(last.known.position) === known.position;
}

/** Whether the generation that the log is in is the one with this id. */
export async function hasBegun(log: EventLog, id: string): Promise<boolean> {
  return (await lastGeneration(log))?.id === id;
}

/** The generation that the log is in; undefined for the first. */
export async function lastGeneration(log: EventLog): Promise<GenerationStarted | undefined> {
  for await (const recorded of log.readStream(generationStream, undefined, { direction: 'backwards' })) {
    const { event } = judged(recorded);
    if (event?.$typeName === 'memoir.events.v1.GenerationStarted') return event;
  }
  return undefined;
}
