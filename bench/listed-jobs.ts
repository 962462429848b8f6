import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  JobCancelledSchema,
  JobCompletedSchema,
  JobFailedSchema,
  JobRequestedSchema,
  JobStartedSchema,
} from '../gen/memoir/events/v1/events_pb.js';
import { allProjections } from '../projections/all.js';
import { openReadModelFile } from '../projections/running/database.js';
import { computationDigests, jobUuid } from '../src/domain/computation.js';
import type { MemoirEvent } from '../src/domain/events.js';
import { jobStream } from '../src/domain/streams.js';
import type { RecordedEvent } from '../src/eventstore/port.js';

/** What the jobs of the bench have in common. */
export type ListedJobs = {
  readonly path: string;
  readonly count: number;
  /** Commits of the scripts, among which the jobs are spread. */
  readonly commits: readonly string[];
  /** Locators of the images that every fourth job runs in. */
  readonly locators: readonly string[];
};

/** Time of the first job, in milliseconds since 1970-01-01T00:00Z; each further one is a second later. */
export const firstListed = Date.UTC(2026, 0, 1);

/** The nth job: what it is made of, and its uuid. */
export function listedJob(n: number) {
  const repository = `team-${n % 20}/pipeline`;
  const script = `bin/step-${n % 7}.py`;
  const scriptParameters = {
    sample: `sample-${n}`,
    threshold: n / 8,
    inputs: ['reads.fastq', 'reference.fa'],
    trim: n % 2 === 0,
  };
  const digests = computationDigests({ repository, script, scriptParameters });
  const owner = `user-${n % 50}`;
  return { repository, script, scriptParameters, digests, owner, uuid: jobUuid(digests.computation, 1) };
}

/**
 * Fills a read model by the projections' own handlers, without a log: what is measured reads the tables alone. Of a hundred jobs
 * one failed, one was cancelled and the rest are complete; the last 500 are queued.
 */
export function fillListedJobs({ path, count, commits, locators }: ListedJobs): void {
  const db = openReadModelFile(path, allProjections);
  db.pragma('synchronous = OFF');
  const positions = new Map<string, number>();
  const handlers = allProjections.map(({ prepare }) => prepare?.(db, (stream) => positions.get(stream) ?? null) ?? {});
  let position = 0;
  const apply = (stream: string, revision: number, event: MemoirEvent) => {
    const type = event.$typeName.slice('memoir.events.v1.'.length);
    position++;
    if (revision === 0) positions.set(stream, position);
    const recorded = { stream, revision, position, type } as RecordedEvent;
    for (const those of handlers)
      (those as Record<string, (e: MemoirEvent, r: RecordedEvent) => void>)[type]?.(event, recorded);
  };
  const batch = db.transaction((from: number, end: number) => {
    for (let n = from; n < end; n++) {
      const events = lifeOf(n, n >= count - 500, commits, locators);
      const stream = jobStream(listedJob(n).uuid);
      for (const [revision, event] of events.entries()) apply(stream, revision, event);
      positions.clear();
    }
  });
  for (let n = 0; n < count; n += 10_000) batch(n, Math.min(count, n + 10_000));
  for (const { indexes } of allProjections) if (indexes) db.exec(indexes);
  db.pragma('wal_checkpoint(TRUNCATE)');
  db.close();
}

function lifeOf(n: number, queued: boolean, commits: readonly string[], locators: readonly string[]): MemoirEvent[] {
  const { repository, script, scriptParameters, digests, owner, uuid } = listedJob(n);
  const at = (seconds: number) => timestampFromMs(firstListed + (n + seconds) * 1_000);
  const docker = n % 4 === 0 ? (locators[n % locators.length] ?? '') : '';
  const requested = create(JobRequestedSchema, {
    uuid,
    owner,
    repository,
    script,
    scriptVersion: commits[(n * 7919) % commits.length] ?? '',
    suppliedScriptVersion: 'main',
    scriptParameters,
    parametersDigest: digests.parameters,
    computationDigest: digests.computation,
    runNumber: 1,
    runtimeConstraints: { minCoresPerNode: 2, minRamMbPerNode: 4_096 },
    dockerImageLocator: docker,
    priority: n % 3,
    description: n % 5 === 0 ? `Nightly run ${n}` : '',
    requestedAt: at(0),
  });
  if (queued) return [requested];
  const started = create(JobStartedSchema, {
    worker: `worker-${n % 30}`,
    lease: durationFromMs(60_000),
    startedAt: at(1),
  });
  if (n % 100 === 7) return [requested, create(JobCancelledSchema, { cancelledBy: owner, cancelledAt: at(2) })];
  if (n % 100 === 8) return [requested, started, create(JobFailedSchema, { reason: 'SCRIPT_FAILED', failedAt: at(9) })];
  const { computation, parameters } = digests;
  const completed = {
    output: `sha256:${computation}`,
    log: `sha256:${parameters}`,
    tasksSummary: { done: 2 },
    completedAt: at(40),
  };
  return [requested, started, create(JobCompletedSchema, completed)];
}
