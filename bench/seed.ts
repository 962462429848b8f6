import { create, type JsonObject } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobCompletedSchema, JobRequestedSchema, JobStartedSchema } from '../gen/memoir/events/v1/events_pb.js';
import { computationDigests, jobUuid } from '../src/domain/computation.js';
import { jobStream } from '../src/domain/streams.js';
import { encodeEvent } from '../src/eventstore/codec.js';
import type { EventStore } from '../src/eventstore/port.js';

/** What all seeded jobs have in common. */
export type Seed = {
  readonly repository: string;
  readonly script: string;
  readonly commit: string;
  readonly owner: string;
  /** What they see of the commit; absent for all of it. */
  readonly code?: { readonly codePaths: string[]; readonly codeDigest: string };
};

/** Time at which the seeded history begins, in milliseconds since 1970-01-01T00:00Z. */
const epoch = Date.UTC(2026, 0, 1);

const metadata = JSON.stringify({ principal: 'bench', requestId: 'seed', serverVersion: '0' });

/** Parameters of seeded job `n`. */
export function seedParameters(n: number): JsonObject {
  return { sample: n, mode: 'paired' };
}

/**
 * Appends the histories of `count` complete jobs, three events each, as a server would have recorded them. Job n has the
 * parameters `seedParameters(n)`; ids are made of n, so that the same seed gives the same bytes.
 */
export async function seedJobs(store: EventStore, seed: Seed, from: number, count: number): Promise<void> {
  const pending = new Set<Promise<unknown>>();
  for (let n = from; n < from + count; n++) {
    const append = seedJob(store, seed, n);
    pending.add(append);
    void append.then(() => pending.delete(append));
    if (pending.size >= 2_000) await Promise.race(pending);
  }
  await Promise.all(pending);
}

/** Appends the histories of `runs` complete runs of the computation with the parameters `seedParameters(n)`. */
export async function seedRuns(store: EventStore, seed: Seed, n: number, runs: number): Promise<void> {
  for (let run = 1; run <= runs; run++) await seedJob(store, seed, n, run);
}

function seedJob(store: EventStore, seed: Seed, n: number, runNumber = 1): Promise<unknown> {
  const scriptParameters = seedParameters(n);
  const digests = computationDigests({ repository: seed.repository, script: seed.script, scriptParameters });
  const uuid = jobUuid(digests.computation, runNumber);
  const at = (ms: number) => timestampFromMs(epoch + n * 10 + ms);
  const output = `sha256:${digests.computation}`;
  const events = [
    create(JobRequestedSchema, {
      uuid,
      owner: seed.owner,
      repository: seed.repository,
      script: seed.script,
      scriptVersion: seed.commit,
      suppliedScriptVersion: 'main',
      scriptParameters,
      parametersDigest: digests.parameters,
      computationDigest: digests.computation,
      runNumber,
      requestedAt: at(0),
      ...seed.code,
    }),
    create(JobStartedSchema, { worker: seed.owner, lease: durationFromMs(60_000), startedAt: at(1) }),
    create(JobCompletedSchema, { output, log: `sha256:${digests.parameters}`, completedAt: at(2) }),
  ];
  const encoded = events.map((event, i) => encodeEvent(eventId(n * 4 + i, runNumber), event, metadata));
  return store.append(jobStream(uuid), 'no_stream', encoded);
}

function eventId(event: number, run: number): string {
  return `${run.toString(16).padStart(8, '0')}-0000-4000-8000-${event.toString(16).padStart(12, '0')}`;
}
