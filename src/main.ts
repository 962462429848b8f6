import { join } from 'node:path';
import type { Logger } from 'pino';
import { pastFiles } from '../projections/history/as-of.js';
import { openHistoryModel } from '../projections/history/history-model.js';
import { openJobLists } from '../projections/lists/job-lists.js';
import { openReadModel } from '../projections/read-model/read-model.js';
import type { ServerConfig } from './config.js';
import { sharedRunsFormat } from './domain/log-format.js';
import { equalShares } from './domain/placement/shares.js';
import { pricesOf } from './domain/savings/prices.js';
import type { Edge } from './edge.js';
import { storeKind, storeName, storeUrlOf } from './eventstore/open-store.js';
import { keptDirectory } from './git/repositories.js';
import { openCheckpoints } from './history/checkpoints.js';
import { recordCheckpoints } from './history/record-checkpoints.js';
import { openImageParts } from './images/open.js';
import type { JobsContext } from './jobs/context.js';
import { openQuotas } from './jobs/deciding/quotas.js';
import { openJobStreams } from './jobs/job-streams.js';
import { watchLogEnd } from './jobs/log-end.js';
import { ownWrites } from './jobs/own-writes.js';
import { commitsOfJobs } from './jobs/reading/commits-of-jobs.js';
import { damagedJobs } from './jobs/reading/damaged-jobs.js';
import { recordingStore } from './jobs/recording-store.js';
import { watchBackOffs } from './jobs/running/back-offs.js';
import { keepCommits } from './jobs/running/keep-commits.js';
import { watchLeases } from './jobs/running/leases.js';
import { watchQueueLimits } from './jobs/running/queue-limits.js';
import { openReservations } from './jobs/running/reservations.js';
import { settlingStore } from './jobs/settling-store.js';
import { seenGrants } from './jobs/workers/seen-lately.js';
import { makeDirectory } from './make-directory.js';
import { openPolicyFile } from './policy/policy-file.js';
import { openCalls } from './rpc/call.js';
import { keptContent } from './rpc/content/kept-content.js';
import { openLimiter } from './rpc/limits/limiter.js';
import { meters } from './rpc/limits/meter.js';
import { listen } from './rpc/server.js';
import { closers } from './serving/closers.js';
import { keepContent, openContent } from './serving/content-parts.js';
import { authorising, checkedAddress, openDoor } from './serving/door.js';
import { keepCheckpoint } from './serving/kept-checkpoint.js';
import { keyOfCommand } from './serving/key-command.js';
import { openServersLog } from './serving/open-log.js';
import type { Accepted } from './serving/opening.js';
import { filesOfLog, keepPrivate } from './serving/private-data.js';
import { namePassedOver, watchFollowers, watchRefusal } from './serving/readiness.js';
import { callerLimits, rpcLimits } from './serving/rpc-limits.js';
import { followAdded, openServersRepositories } from './serving/servers-repositories.js';
import { services } from './serving/services.js';
import { beginSigning, serversKey, watchSigning } from './serving/signing.js';
import { type StatusBoard, statusBoard } from './serving/status-board.js';
import { unhashedNames } from './serving/unhashed-names.js';
import { serverVersion } from './version.js';

/** How long everything may take to close once no call is under way, in milliseconds: a store elsewhere may not answer any more. */
const longestClosing = { sqlite: 60_000, kurrentdb: 5_000 } as const;

/** A server that runs. */
export type RunningServer = {
  /** Address that it is bound to, as host:port. */
  readonly address: string;
  /** Resolves when the read model has caught up with the log, so that calls are answered. */
  ready(): Promise<void>;
  /** Tells whether calls are answered, as the health service does, and why they are not: now and whenever that changes, until it stops. */
  readonly onStatus: StatusBoard['onChange'];
  /**
   * Has the repositories of settings that were read again; nothing else of them counts.
   * @throws Error naming the repository that cannot be used; then all is as it was before
   */
  reconfigure(settings: Pick<ServerConfig, 'repositories' | 'credentials'>): Promise<void>;
  /** Lets the calls under way end, at most for the configured time, then closes everything. */
  stop(): Promise<void>;
};

/**
 * Starts a server: which parts there are, and who gets what. When it resolves the server listens; until `ready`, calls wait for
 * some seconds, then are UNAVAILABLE. `accepted` is what it may go on with though the log is not what was known of it.
 * @throws Error naming the setting and its value if the server cannot run with it; nothing is left open then
 */
export async function startServer(
  config: ServerConfig,
  edge: Edge,
  logger: Logger,
  accepted: Accepted = {},
): Promise<RunningServer> {
  const address = checkedAddress(config);
  const storeUrl = storeUrlOf(config);
  const { open, closeAll } = closers(longestClosing[storeKind(storeUrl)], (parts) =>
    logger.error({ parts }, 'parts of the server did not close in time: the event store does not answer'),
  );
  try {
    const beside = storeKind(storeUrl) === 'sqlite' ? filesOfLog(storeName(storeUrl)) : [];
    keepPrivate(config.data_dir, beside, edge, logger);
    const gitDirectory = join(config.data_dir, 'git');
    const files = pastFiles(config.data_dir);

    // The log.
    const keptCheckpoint = join(config.data_dir, 'log.checkpoint');
    const key = serversKey(config, await keyOfCommand(config));
    const { signing } = key;
    const log = await openServersLog({ config, files, keptCheckpoint, edge, accepted, signing, logger });
    const opened = recordingStore(log.store);
    const { store, settled, lastOf } = await settlingStore(opened.store);
    open(store, () => store.close());

    // What is signed with.
    const signer = key.opened();
    await beginSigning({ config, store, signing, edge, logger });
    const trust = key.trust();

    // Git: refspecs, ranges, mirrors.
    const mayHaveCodePaths = store.allowedFormat >= sharedRunsFormat;
    const repositorySet = open(
      await openServersRepositories(
        config,
        {
          directory: gitDirectory,
          edge,
          mayHaveCodePaths,
          commitsOfJobs: (name) => commitsOfJobs({ store, readModel }, name),
        },
        logger,
      ),
      (those) => those.close(),
    );
    const repositories = repositorySet.git;

    // What is read: now, the past, lists.
    const readModel = open(await openReadModel(storeUrl, files.readModel, trust), (model) => model.close());
    const history = open(await openHistoryModel(storeUrl, files, trust), (model) => model.close());
    const lists = open(
      openJobLists(files, config.list_time_limit * 1_000, () => readModel.progress().live),
      (threads) => threads.close(),
    );
    readModel.onRemade(history.readModelRemade);
    readModel.onRemade(lists.renew);
    history.onRemade(lists.renew);

    // Who may what, and gets how much.
    const policy = config.policy === undefined ? undefined : openPolicyFile(config.policy, logger);
    open(policy, (file) => file?.close());
    const shares = policy?.shares ?? equalShares;

    // What decides and runs.
    const written = ownWrites(readModel, settled, lastOf);
    const { content, local } = openContent(config, { readModel, written, edge }, logger);
    open(content, (kept) => kept.close());
    const damaged = damagedJobs(store, readModel);
    const logEnd = watchLogEnd(store, readModel, config.log_end_within * 1_000, edge);
    const images = openImageParts({ store, readModel, written, edge, serverVersion }, config, logger);
    const commits = config.keep_commits ? startKeeping() : undefined;
    const unhashed = unhashedNames(config);
    const context: JobsContext = {
      store,
      readModel,
      history,
      lists,
      repositories,
      images: images.images,
      content: keptContent(content, async (digest) => keeping?.held.elsewhere(digest).catch(() => undefined)),
      edge,
      serverVersion,
      written,
      damaged,
      streams: openJobStreams(store, edge, serverVersion, written, readModel, damaged.note, {
        logEnd,
        readModel,
        damaged,
      }),
      reuseIfOutputsDiffer: config.reuse_if_outputs_differ,
      jobLogLimit: config.job_log_limit,
      recordIntentions: store.allowedFormat >= 2,
      sharesRuns: store.allowedFormat >= sharedRunsFormat,
      shares,
      quotas: openQuotas(readModel, shares),
      reservations: openReservations(readModel, edge, config.queue.reserve_after * 1_000),
      preferOthersMs: config.queue.prefer_others_for * 1_000,
      backOffs: open(watchBackOffs(readModel, edge), (watch) => watch.stop()),
      ownUnfinishedOnly: config.reuse.share_unfinished === 'owner',
      trustUnstatedImages: config.reuse.trust_unstated_images,
      submittersSupersede: config.reuse.supersede === 'submitters',
      ...(unhashed && { unhashed }),
      ...(config.prices && { prices: pricesOf(config.prices) }),
      codePaths: repositorySet.codePaths,
      ...(commits && { keepCommit: commits.requested }),
      grants: seenGrants(readModel, edge, authorising(policy)),
    };
    open(watchLeases({ ...context, recording: opened.recording }, logger), (leases) => leases.stop());
    if (context.sharesRuns) open(watchQueueLimits(context, logger), (limits) => limits.stop());

    const keeping = keepContent(context, { content, local }, config, logger);
    open(keeping, (kept) => kept?.stop());

    // Repositories that are added while servers run.
    const added = await followAdded(context, repositorySet, logger);

    // What proves.
    const checkpoints = openCheckpoints(context, signer);
    if (storeKind(storeUrl) === 'sqlite') {
      const keeping = { store, history, signer, path: keptCheckpoint, before: log.checkpoint, edge, logger };
      open(keepCheckpoint(keeping), (kept) => kept.stop());
    }
    open(recordCheckpoints(context, checkpoints, config.checkpoint_interval * 1_000, logger), (recording) =>
      recording.stop(),
    );

    // Who calls, and what is answered.
    const door = open(await openDoor(config, address, edge, logger), (opened) => opened.close());
    const calls = openCalls(door.authenticate, authorising(policy), edge);
    door.watch(calls);
    const limiter = openLimiter(callerLimits(config), edge);
    const served = services(
      context,
      store,
      { images, added },
      { checkpoints, signer },
      { content, local, keeping, maxRequestBytes: config.rpc.max_request_bytes },
      calls,
      config.determinism,
      meters(limiter, !door.anybody),
      logger,
    );
    const server = await listen(address.host, address.port, served, {
      limits: rpcLimits(config),
      edge,
      logger,
      tls: door.tls,
      admission: door.admission,
      named: door.named,
      limiter,
    });
    const board = statusBoard();
    const unwatch = watchFollowers({ store, readModel, history }, server, board, logger);
    namePassedOver(readModel, logger);
    watchSigning({ store, signing, logger }, readModel);
    readModel.onBroken(() => store.suspect?.());
    watchRefusal(store, [readModel, history], server, calls, logger);

    logger.info(
      { address: server.address, store: storeName(storeUrl), repositories: repositories.names() },
      'listening',
    );
    logger.info(
      { key: signer.key.text },
      signer.made ? 'made a key that checkpoints are signed with' : 'checkpoints are signed',
    );
    return {
      address: server.address,
      reconfigure: repositorySet.reconfigure,
      ready: () => readModel.caughtUp(),
      onStatus: board.onChange,
      async stop() {
        unwatch();
        for (const service of ['', ...server.services]) server.setServing(service, false);
        calls.drain();
        await server.stop(config.drain_timeout * 1_000);
        await closeAll();
        logger.info('stopped');
      },
    };

    function startKeeping() {
      // At once, so that a worker may be started beside a server that has kept nothing yet.
      makeDirectory(keptDirectory(gitDirectory));
      return open(keepCommits({ readModel, repositories, edge }, logger), (kept) => kept.stop());
    }
  } catch (error) {
    await closeAll();
    throw error;
  }
}
