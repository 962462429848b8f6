import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { pino } from 'pino';
import { JobRequestedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { openHistoryModel } from '../../projections/history/history-model.js';
import { openJobLists } from '../../projections/lists/job-lists.js';
import { openReadModel } from '../../projections/read-model/read-model.js';
import { type Access, unrestricted } from '../../src/domain/access.js';
import { computationDigests, jobUuid } from '../../src/domain/computation.js';
import { equalShares } from '../../src/domain/placement/shares.js';
import { factsOf } from '../../src/domain/reuse.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import type { EventStore } from '../../src/eventstore/port.js';
import { commitRanges } from '../../src/exclusions/commit-ranges.js';
import { type Exclusions, exclusionUseCases } from '../../src/exclusions/exclude.js';
import { type ExclusionRules, exclusionRules } from '../../src/exclusions/rules.js';
import { exclusionRulesAsOf, standingAsOf } from '../../src/exclusions/rules-as-of.js';
import { openRepositories } from '../../src/git/repositories.js';
import { openImageParts } from '../../src/images/open.js';
import type { Caller } from '../../src/jobs/caller.js';
import type { JobsContext } from '../../src/jobs/context.js';
import { openQuotas } from '../../src/jobs/deciding/quotas.js';
import { openJobStreams } from '../../src/jobs/job-streams.js';
import { ownWrites } from '../../src/jobs/own-writes.js';
import { damagedJobs } from '../../src/jobs/reading/damaged-jobs.js';
import { openReservations } from '../../src/jobs/running/reservations.js';
import { testConfig } from './server.js';

/** What a test says of a job; the rest does not matter to exclusions. */
export type JobSketch = {
  readonly repository: string;
  readonly commit: string;
  readonly image?: string;
  readonly parameters: JsonObject;
  readonly owner?: string;
  readonly nondeterministic?: boolean;
};

/** Where and when a job runs, in milliseconds since 1970-01-01T00:00Z. */
export type Place = { readonly name?: string; readonly from?: number; readonly until?: number };

/** The use cases of exclusions on a real store, read model and repositories, without a server around them. */
export type ExclusionsBench = {
  readonly context: JobsContext;
  readonly rules: ExclusionRules;
  readonly exclusions: Exclusions;
  /** A caller who may do everything, or what the access says. */
  caller(principal: string, access?: Access): Caller;
  /** Records a new job, whatever jobs there are. */
  request(sketch: JobSketch): Promise<Job>;
  /** Has a worker claim the job. */
  start(job: Job, at?: Place): Promise<void>;
  /** Claims the job and completes it. */
  complete(job: Job, output: string, log?: string, at?: Place): Promise<void>;
  /** Waits until the read model has everything. */
  settle(): Promise<void>;
  /** The rows of the read model as the exclusions see a job: by which exclusion it is ruled out, if by any. */
  ruledOut(job: Job, sketch: JobSketch): Promise<string | undefined>;
  /** The same as of a position, by the search upstream. The job must have been there. */
  ruledOutThen(job: Job, sketch: JobSketch, position: number): Promise<string | undefined>;
  /** Path of a file in the directory. */
  path(name: string): string;
  close(): Promise<void>;
};

/** Opens everything in a directory of its own; `repositories` are paths by name, and the store is seen through `watched`. */
export async function openExclusionsBench(
  repositories: Readonly<Record<string, string>>,
  watched: (store: EventStore) => EventStore = (store) => store,
): Promise<ExclusionsBench> {
  const config = testConfig({});
  const directory = config.data_dir;
  const silent = pino({ level: 'silent' });
  const url = sqliteUrl(join(directory, 'events.sqlite'));
  const paths = Object.entries(repositories).map(([name, path]) => [name, { path }] as const);
  const opened = await openRepositories(Object.fromEntries(paths));
  const store = watched(await openStore(url, systemEdge));
  const readModelPath = join(directory, 'read-model.sqlite');
  const readModel = await openReadModel(url, readModelPath);
  const files = { readModel: readModelPath, history: join(directory, 'history.sqlite') };
  const history = await openHistoryModel(url, files);
  const lists = openJobLists(files, 10_000);
  await readModel.caughtUp();
  const written = ownWrites(readModel);
  const context: JobsContext = {
    store,
    readModel,
    history,
    repositories: opened,
    images: openImageParts({ store, readModel, written, edge: systemEdge, serverVersion: 'test' }, config, silent)
      .images,
    lists,
    edge: systemEdge,
    serverVersion: 'test',
    written,
    damaged: damagedJobs(store, readModel),
    shares: equalShares,
    quotas: openQuotas(readModel, equalShares),
    reservations: openReservations(readModel, systemEdge, 0),
    preferOthersMs: 0,
    streams: openJobStreams(store, systemEdge, 'test', written, readModel),
    reuseIfOutputsDiffer: false,
    jobLogLimit: 1_000,
  };
  const rules = exclusionRules(context);
  const ranges = commitRanges(opened);
  const caller = (principal: string, access = unrestricted(principal)): Caller => ({
    principal,
    access,
    requestId: 'test',
  });
  const worker = caller('worker');
  const runs = new Map<string, number>();

  async function start({ uuid }: Job, { name: workerName = '', from: now = 0 }: Place = {}): Promise<void> {
    await context.streams.execute(worker, uuid, { kind: 'start', worker: 'worker', workerName, leaseMs: 60_000, now });
  }

  return {
    context,
    rules,
    exclusions: exclusionUseCases({ ...context, sharesRuns: true }, rules),
    caller,
    async request({ repository, commit, image = '', parameters, owner = 'ada', nondeterministic = false }) {
      const digests = computationDigests({ repository, script: 'run.sh', scriptParameters: parameters });
      const runNumber = (runs.get(digests.computation) ?? 0) + 1;
      runs.set(digests.computation, runNumber);
      const { record } = await context.streams.request(
        caller(owner),
        create(JobRequestedSchema, {
          uuid: jobUuid(digests.computation, runNumber),
          owner,
          repository,
          script: 'run.sh',
          scriptVersion: commit,
          scriptParameters: parameters,
          parametersDigest: digests.parameters,
          computationDigest: digests.computation,
          runNumber,
          dockerImageLocator: image,
          nondeterministic,
          requestedAt: timestampFromMs(0),
        }),
      );
      return record.job;
    },
    start,
    async complete(job, output, log = 'log', at = {}) {
      await start(job, at);
      const command = { kind: 'complete', worker: 'worker', output, log, now: at.until ?? at.from ?? 0 } as const;
      await context.streams.execute(worker, job.uuid, command);
    },
    settle: async () => written.catchUp(await store.end()),
    async ruledOut({ uuid }, { repository, parameters }) {
      const record = await context.streams.load(uuid);
      if (!record) throw new Error(`no job ${uuid}`);
      if (!rules.any()) return undefined;
      const facts = factsOf(record);
      const rule = await rules.ruleFor({ repository, parameters: () => parameters, candidates: [facts] });
      return rule?.(facts)?.exclusion.id;
    },
    async ruledOutThen({ uuid }, { repository, parameters }, position) {
      await history.waitFor(position);
      await readModel.waitFor(position);
      const reads = history.at(position);
      const row = reads.jobs.get(uuid);
      const past = exclusionRulesAsOf(await standingAsOf(reads.exclusions), reads, ranges, position);
      if (!row || !past.any()) return undefined;
      const facts = reads.candidates.candidates(row.computation_digest).find((one) => one.uuid === uuid);
      if (!facts) throw new Error(`no candidate ${uuid}`);
      const rule = await past.ruleFor({ repository, parameters: () => parameters, candidates: [facts] });
      return rule?.(facts)?.exclusion.id;
    },
    path: (name) => join(directory, name),
    async close() {
      await lists.close();
      await readModel.close();
      await history.close();
      await store.close();
      await opened.close();
      rmSync(directory, { recursive: true });
    },
  };
}
