import { mkdirSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { AuditService } from '../gen/memoir/audit/v1/audit_service_pb.js';
import { HistoryService } from '../gen/memoir/history/v1/history_service_pb.js';
import { ImagesService } from '../gen/memoir/images/v1/images_service_pb.js';
import { ExclusionsService } from '../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { RepositoriesService } from '../gen/memoir/repositories/v1/repositories_service_pb.js';
import { WorkerService } from '../gen/memoir/worker/v1/worker_service_pb.js';
import { pastFiles } from '../projections/history/as-of.js';
import { openHistoryModel } from '../projections/history/history-model.js';
import { openJobLists } from '../projections/lists/job-lists.js';
import { openReadModel, type ReadModel } from '../projections/read-model/read-model.js';
import type { ServerConfig } from './config.js';
import { unrestricted } from './domain/access.js';
import { MemoirError, quote } from './domain/errors.js';
import type { Edge } from './edge.js';
import { openStore, storeName, storeUrlOf } from './eventstore/open-store.js';
import { exclusionUseCases } from './exclusions/exclude.js';
import { exclusionRules } from './exclusions/rules.js';
import { keptDirectory, openRepositories } from './git/repositories.js';
import { openCheckpointKey } from './history/checkpoint-key.js';
import { openCheckpoints } from './history/checkpoints.js';
import { recordCheckpoints } from './history/record-checkpoints.js';
import { type ImageParts, openImageParts } from './images/open.js';
import type { JobsContext } from './jobs/context.js';
import { jobCreator } from './jobs/deciding/create-job.js';
import { reusableFinder } from './jobs/deciding/find-reusable.js';
import { openJobStreams } from './jobs/job-streams.js';
import { ownWrites } from './jobs/own-writes.js';
import { jobClaims } from './jobs/running/claim-job.js';
import { jobLogs } from './jobs/running/job-log.js';
import { type CommitKeeping, keepCommits } from './jobs/running/keep-commits.js';
import { watchLeases } from './jobs/running/leases.js';
import { settlingStore } from './jobs/settling-store.js';
import { openPolicyFile } from './policy/policy-file.js';
import { historyLimits, remoteRules, repositoryPlaces } from './repository-places.js';
import { type AuditParts, auditService } from './rpc/audit-service.js';
import { openCalls, principalFromMetadata } from './rpc/call.js';
import { exclusionsService } from './rpc/exclusions-service.js';
import { historyService } from './rpc/history-service.js';
import { imagesService } from './rpc/images-service.js';
import { jobsService } from './rpc/jobs-service.js';
import { repositoriesService } from './rpc/repositories-service.js';
import { listen } from './rpc/server.js';
import { type Implementation, type Served, serveService } from './rpc/service.js';
import { workerService } from './rpc/worker-service.js';
import { serverVersion } from './version.js';

/** How long a call waits for the read model of a server that has just started, in milliseconds. */
const longestWaitForStart = 5_000;

/** How often the progress of a catch-up is logged, in milliseconds. */
const progressInterval = 2_000;

/** A server that runs. */
export type RunningServer = {
  /** Address that it is bound to, as host:port. */
  readonly address: string;
  /** Resolves when the read model has caught up with the log, so that calls are answered. */
  ready(): Promise<void>;
  /** Lets the calls under way end, at most for the configured time, then closes everything. */
  stop(): Promise<void>;
};

/**
 * Starts a server. When it resolves the server listens; until `ready`, calls wait for some seconds, then are UNAVAILABLE.
 * @throws Error naming the setting and its value if the server cannot run with it; nothing is left open then
 */
export async function startServer(config: ServerConfig, edge: Edge, logger: Logger): Promise<RunningServer> {
  const { host, port } = loopbackAddress(config.listen);
  if (config.policy !== undefined && !config.insecure) {
    throw new Error(
      `policy ${quote(config.policy)} needs the setting insecure (--insecure): callers are not authenticated yet, they name themselves, and whoever reaches the server can be anybody`,
    );
  }
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of closers.reverse()) await close();
  };
  try {
    mkdirSync(config.data_dir, { recursive: true });
    const storeUrl = storeUrlOf(config);
    const storeLabel = storeName(storeUrl);
    const signer = openCheckpointKey({
      path: config.checkpoint_key ?? join(config.data_dir, 'checkpoint.key'),
      make: config.checkpoint_key === undefined,
      origin: config.checkpoint_origin,
    });
    const gitDirectory = join(config.data_dir, 'git');
    const repositories = await openRepositories(repositoryPlaces(config), {
      edge,
      directory: gitDirectory,
      log: logger,
      remotes: remoteRules(config),
      histories: historyLimits(config),
    });
    closers.push(() => repositories.close());
    const { store, settled } = await settlingStore(await openStore(storeUrl, edge, (message) => logger.warn(message)));
    closers.push(() => store.close());
    const files = pastFiles(config.data_dir);
    const readModel = await openReadModel(storeUrl, files.readModel);
    closers.push(() => readModel.close());
    const history = await openHistoryModel(storeUrl, files);
    closers.push(() => history.close());
    const lists = openJobLists(files, config.list_time_limit * 1_000);
    closers.push(() => lists.close());
    const written = ownWrites(readModel, settled);
    const parts = openImageParts({ store, readModel, written, edge, serverVersion }, config, logger);
    const keeping = config.keep_commits
      ? startKeeping(gitDirectory, { readModel, repositories, edge }, logger)
      : undefined;
    closers.push(async () => keeping?.stop());
    const context: JobsContext = {
      store,
      readModel,
      history,
      lists,
      repositories,
      images: parts.images,
      edge,
      serverVersion,
      written,
      streams: openJobStreams(store, edge, serverVersion, written),
      reuseIfOutputsDiffer: config.reuse_if_outputs_differ,
      jobLogLimit: config.job_log_limit,
      ...(keeping && { keepCommit: keeping.requested }),
    };
    const leases = watchLeases(context, logger);
    closers.push(() => leases.stop());
    const checkpoints = openCheckpoints(context, signer);
    const recording = recordCheckpoints(context, checkpoints, config.checkpoint_interval * 1_000, logger);
    closers.push(() => recording.stop());
    const policy = config.policy === undefined ? undefined : openPolicyFile(config.policy, logger);
    closers.push(async () => policy?.close());
    const calls = openCalls(principalFromMetadata, policy?.accessOf ?? unrestricted, edge);
    const server = await listen(host, port, services(context, parts, { checkpoints, signer }, calls, logger));
    const unwatch = watchReadModel(readModel, server.setServing, logger);
    logger.info({ address: server.address, store: storeLabel, repositories: repositories.names() }, 'listening');
    const { key, made } = signer;
    logger.info({ key: key.text }, made ? 'made a key that checkpoints are signed with' : 'checkpoints are signed');
    return {
      address: server.address,
      ready: () => readModel.caughtUp(),
      async stop() {
        unwatch();
        server.setServing(false);
        calls.drain();
        await server.stop(config.drain_timeout * 1_000);
        await closeAll();
        logger.info('stopped');
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function startKeeping(
  gitDirectory: string,
  context: Pick<JobsContext, 'readModel' | 'repositories' | 'edge'>,
  logger: Logger,
): CommitKeeping {
  // At once, so that a worker may be started beside a server that has kept nothing yet.
  mkdirSync(keptDirectory(gitDirectory), { recursive: true });
  return keepCommits(context, logger);
}

function services(
  context: JobsContext,
  images: ImageParts,
  audit: AuditParts,
  calls: ReturnType<typeof openCalls>,
  logger: Logger,
): ReadonlyMap<DescService, Served> {
  const served = new Map<DescService, Served>();
  const logs = jobLogs(context);
  const open = gate(context.readModel);
  const serve = <S extends DescService>(service: S, implementation: Implementation<S>) =>
    served.set(service, serveService(service, implementation, calls, open, logger));
  const rules = exclusionRules(context);
  const find = reusableFinder(context, rules);
  serve(JobsService, jobsService(context, jobCreator(context, find), find, logs));
  serve(WorkerService, workerService(context, jobClaims(context), logs));
  serve(HistoryService, historyService(context));
  serve(AuditService, auditService(context, audit));
  serve(ExclusionsService, exclusionsService(context, exclusionUseCases(context, rules)));
  serve(ImagesService, imagesService(context, images));
  serve(RepositoriesService, repositoriesService(context.repositories));
  return served;
}

/** Keeps calls until the read model has caught up: decisions taken by half a read model would be wrong. */
function gate(readModel: ReadModel): () => Promise<void> | undefined {
  return () => {
    if (readModel.progress().live) return undefined;
    return caughtUpInTime(readModel);
  };
}

async function caughtUpInTime(readModel: ReadModel): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<void>((_, reject) => {
    timer = setTimeout(() => {
      const { position, end, failure } = readModel.progress();
      const why = failure === undefined ? '' : `; it cannot go on: ${failure}`;
      const message = `the read model is being brought up to date: at position ${position} of about ${end}${why}`;
      reject(new MemoirError('UNAVAILABLE', 'READ_MODEL_CATCHING_UP', message));
    }, longestWaitForStart);
  });
  try {
    await Promise.race([readModel.caughtUp(), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** Says when calls are answered, and until it is stopped, how the catch-up goes and what is wrong with the read model. */
function watchReadModel(readModel: ReadModel, setServing: (serving: boolean) => void, logger: Logger): () => void {
  const timer = setInterval(() => {
    const { position, end, failure, live } = readModel.progress();
    if (failure !== undefined) logger.error({ position, failure }, 'the read model cannot be kept up to date');
    else if (!live) logger.info({ position, end }, 'bringing the read model up to date');
  }, progressInterval);
  timer.unref();
  readModel.caughtUp().then(
    () => {
      setServing(true);
      logger.info({ position: readModel.position() }, 'ready');
    },
    // The server was stopped before.
    () => undefined,
  );
  return () => clearInterval(timer);
}

/** Callers are not authenticated yet and name themselves, so nobody but this machine may reach the server. */
function loopbackAddress(listen: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) throw new Error(`listen ${quote(listen)} is not host:port`);
  const loopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (!loopback) {
    throw new Error(
      `listen ${quote(listen)} is not a loopback address: callers are not authenticated yet, so only this machine may reach the server`,
    );
  }
  return { host, port };
}
