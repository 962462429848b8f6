import { stat } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { resolve } from 'node:path';
import { WorkerService } from '../../../gen/memoir/worker/v1/worker_service_pb.js';
import { repositorySettings } from '../../config/settings.js';
import { invalid, quote } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { openContentStore } from '../../worker/content-store.js';
import { scriptEnvironment } from '../../worker/run-script.js';
import { openWorkDirectory } from '../../worker/work-directory.js';
import { work } from '../../worker/worker.js';
import { connectTo, withAddress } from '../client.js';
import { openLogger } from './logger.js';
import { stopSignal } from './stop-signals.js';

/** Options of `memoir worker`. */
export type WorkerOptions = {
  readonly server: string;
  readonly principal?: string;
  readonly config?: string;
  readonly repository?: Readonly<Record<string, string>>;
  readonly kept?: string;
  readonly storeDir: string;
  readonly workDir: string;
  readonly jobs: number;
  readonly once?: boolean;
  readonly lease: number;
  readonly drainTimeout: number;
  readonly grace: number;
  readonly logLimit: number;
  readonly passEnv?: readonly string[];
  readonly logLevel: string;
};

/**
 * Runs a worker until a signal ends it or, with `once`, the queue is empty.
 * @throws MemoirError INVALID_ARGUMENT if an option is wrong; CallError if the server refuses claims
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const configured = await repositorySettings({
    file: options.config,
    environment: process.env,
    flags: { repositories: options.repository },
    directory: process.cwd(),
  });
  const repositories = localOnes(configured);
  const kept = options.kept === undefined ? undefined : await keptDirectory(options.kept);
  if (Object.keys(repositories).length === 0 && kept === undefined) {
    throw invalid(
      'repositories',
      'BAD_OPTIONS',
      'no local repository is given: --repository, MEMOIR_REPOSITORIES or --config; nor is --kept',
    );
  }
  const environment = scriptEnvironment(process.env, options.passEnv ?? []);
  const logger = openLogger(options.logLevel);
  const connection = connectTo({
    server: options.server,
    principal: options.principal ?? `${userInfo().username}@${hostname()}`,
  });
  const store = await openContentStore(resolve(options.storeDir), systemEdge);
  const directory = await openWorkDirectory(resolve(options.workDir), process.pid);
  const draining = stopSignal((signal) => logger.info({ signal }, 'stopping; the same signal again ends at once'));
  try {
    await work(
      {
        worker: connection.service(WorkerService),
        repositories,
        kept,
        // What is kept may be of any repository; the configured ones, local or not, are those that are meant if there are some.
        claims: Object.keys(kept === undefined ? repositories : configured),
        environment,
        store,
        workDirectory: directory.path,
        jobs: options.jobs,
        once: options.once ?? false,
        leaseMs: options.lease * 1_000,
        drainMs: options.drainTimeout * 1_000,
        graceMs: options.grace * 1_000,
        logLimit: options.logLimit * 1024 ** 2,
        edge: systemEdge,
        logger,
      },
      draining,
    );
  } catch (error) {
    throw withAddress(error, options.server);
  } finally {
    connection.close();
    await directory.remove();
  }
}

/** The directory of kept commits. @throws MemoirError INVALID_ARGUMENT if it is none */
async function keptDirectory(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return resolve(path);
  throw invalid(
    'kept',
    'BAD_OPTIONS',
    `--kept ${quote(path)} is no directory; a server with keep_commits makes it in its data directory as git/kept`,
  );
}

/** Scripts are checked out of directories; jobs of other repositories are left to workers that have them. */
function localOnes(
  repositories: Awaited<ReturnType<typeof repositorySettings>>,
): Readonly<Record<string, { readonly path: string }>> {
  return Object.fromEntries(
    Object.entries(repositories).flatMap(([name, { path }]) => (path === undefined ? [] : [[name, { path }]])),
  );
}
