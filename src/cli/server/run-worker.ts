import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { ImagesService } from '../../../gen/memoir/images/v1/images_service_pb.js';
import { OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { WorkerService } from '../../../gen/memoir/worker/v1/worker_service_pb.js';
import { repositorySettings } from '../../config/settings.js';
import { invalid, quote } from '../../domain/errors.js';
import { toldOffer } from '../../domain/placement/recorded-offer.js';
import { systemEdge } from '../../edge.js';
import { CallError } from '../../rpc/call-error.js';
import type { Connection } from '../../rpc/client.js';
import { checkedPlaces } from '../../worker/check-places.js';
import { openHealth } from '../../worker/health.js';
import { pipesIn } from '../../worker/pipes.js';
import { boundsOf } from '../../worker/pool/bounds.js';
import { imagePlatform, machineHas } from '../../worker/pool/machine.js';
import { openPool, type Pool } from '../../worker/pool/pool.js';
import { type Images, removeLeftovers } from '../../worker/run/container.js';
import { type ImageRuntime, openImageRuntime, type RuntimeName, runtimeNames } from '../../worker/run/image-runtime.js';
import { keptCheckouts } from '../../worker/run/kept-checkouts.js';
import { machineNetwork, networkLabel } from '../../worker/run/network.js';
import { imagePuller } from '../../worker/run/pull-image.js';
import { openSandbox, type Sandbox, type SandboxChoice } from '../../worker/run/sandbox.js';
import { storePlace } from '../../worker/run-failure.js';
import { scriptEnvironment } from '../../worker/script-environment.js';
import { offeredSecrets, openWorkerSecrets } from '../../worker/secrets/give-secrets.js';
import { type HeldSecret, readSecretsFile } from '../../worker/secrets/held-secrets.js';
import { keptOutputs } from '../../worker/store/outputs.js';
import { openUnstoredOutputs } from '../../worker/store/unstored-outputs.js';
import { work } from '../../worker/worker.js';
import { connectTo, renewToken, withAddress } from '../client.js';
import type { ServerOptions } from '../options.js';
import { ownName } from '../own-name.js';
import { openLogger } from './logger.js';
import { stopSignal } from './stop-signals.js';
import { type ContentOptions, contentOf, inputCache, numberOf, uploading } from './worker-content.js';

const mebi = 1024 ** 2;

/** Options of `memoir worker`. */
export type WorkerOptions = ServerOptions &
  ContentOptions & {
    readonly name?: string;
    readonly config?: string;
    readonly repository?: Readonly<Record<string, string>>;
    readonly kept?: string;
    readonly storeDir?: string;
    readonly jobs: number;
    readonly cores?: number;
    readonly ramMb?: number;
    readonly scratchMb?: number;
    readonly label?: Readonly<Record<string, string>>;
    readonly imageRuntime?: RuntimeName | 'auto';
    readonly network?: string;
    readonly sandbox: SandboxChoice;
    readonly sandboxRead?: readonly string[];
    readonly maxProcesses: number;
    readonly secrets?: string;
    readonly lease: number;
    readonly drainTimeout: number;
    readonly grace: number;
    readonly logLimit: number;
    readonly maxOutputBytes: number;
    readonly maxOutputFiles: number;
    readonly maxWorkBytes: number;
    readonly maxInputBytes: number;
    readonly clone: boolean;
    readonly checkoutCacheMb: number;
    readonly unstoredMb: number;
    readonly minFree: number;
    readonly path?: string;
    readonly env?: Readonly<Record<string, string>>;
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
  const kept = options.kept === undefined ? undefined : resolve(options.kept);
  if (Object.keys(repositories).length === 0 && kept === undefined) {
    throw invalid(
      'repositories',
      'BAD_OPTIONS',
      'no local repository is given: --repository, MEMOIR_REPOSITORIES or --config; nor is --kept',
    );
  }
  const environment = scriptEnvironment(process.env, {
    path: options.path,
    pass: options.passEnv,
    set: options.env,
  });
  const held = options.secrets === undefined ? [] : await readSecretsFile(resolve(options.secrets));
  const logger = openLogger(options.logLevel);
  const {
    places,
    store,
    work: directory,
  } = await checkedPlaces({
    workDir: resolve(options.workDir),
    storeDir: options.storeDir === undefined ? undefined : resolve(options.storeDir),
    kept,
    repositories,
    minFreeBytes: options.minFree * mebi,
    edge: systemEdge,
    onDamage: (sha256) => logger.error({ sha256 }, 'a content of the store was damaged; it is replaced'),
  });
  const runtime = await imageRuntime(options, directory.path, logger);
  const sandbox = await keptApart(options, logger);
  checkNetwork(options, runtime, sandbox);
  const pool = await poolOf(options, directory.path, runtime, sandbox, held);
  const secrets = await openWorkerSecrets(held, directory.path);
  await renewToken(options);
  const connection = connectTo(options, `${ownName()}@${hostname()}`);
  const content = contentOf(options, connection, logger);
  const unstored = openUnstoredOutputs({
    directory: join(resolve(options.workDir), `.memoir-unstored-${numberOf(directory.path)}`),
    most: options.unstoredMb * mebi,
    edge: systemEdge,
    logger,
  });
  const draining = stopSignal((signal) => logger.info({ signal }, 'stopping; the same signal again ends at once'));
  const offers = toJson(OfferSchema, toldOffer(pool.total));
  const outputs = store ? keptOutputs(store, storePlace) : undefined;
  logger.info(
    { directory: directory.path, repositories: Object.keys(repositories), kept, offers },
    'ready; claiming jobs',
  );
  try {
    const left = outputs ?? (await uploading(connection, content, options, draining, logger));
    if (!left) return;
    await work(
      {
        worker: connection.service(WorkerService),
        repositories,
        kept,
        // What is kept may be of any repository; the configured ones, local or not, are those that are meant if there are some.
        claims: Object.keys(kept === undefined ? repositories : configured),
        environment,
        images: runtime && imagesOf(runtime, connection, options, directory.path),
        sandbox,
        // Scripts that nothing keeps from them could change them.
        checkouts:
          sandbox && keptCheckouts(join(directory.path, 'checkouts'), options.checkoutCacheMb * mebi, systemEdge.uuid),
        network: options.network,
        secrets,
        bounds: boundsOf(pool, options.maxProcesses),
        outputs: left,
        unstored,
        staging: {
          source: content,
          cache: await inputCache(options, directory.path, sandbox !== undefined),
          maxBytes: options.maxInputBytes,
          clone: options.clone,
          link: options.clone && sandbox !== undefined,
        },
        health: openHealth(places, { edge: systemEdge, logger }),
        workDirectory: directory.path,
        pipes: pipesIn(join(directory.path, 'pipes')),
        jobs: options.jobs,
        pool,
        once: options.once ?? false,
        leaseMs: options.lease * 1_000,
        name: options.name ?? `${hostname()}-${process.pid}-${systemEdge.uuid().slice(0, 8)}`,
        drainMs: options.drainTimeout * 1_000,
        graceMs: options.grace * 1_000,
        logLimit: options.logLimit * mebi,
        limits: {
          output: { bytes: options.maxOutputBytes, files: options.maxOutputFiles },
          work: options.maxWorkBytes,
        },
        edge: systemEdge,
        logger,
      },
      draining,
    );
  } catch (error) {
    throw withAddress(error, options);
  } finally {
    connection.close();
    content.close();
    unstored.close();
    await secrets.remove();
    await directory.remove();
  }
}

/** What keeps jobs without an image apart from the machine, which is said. @throws MemoirError BAD_OPTIONS */
async function keptApart(
  { sandbox: choice, sandboxRead }: WorkerOptions,
  logger: Logger,
): Promise<Sandbox | undefined> {
  const readable = (sandboxRead ?? []).map((directory) => resolve(directory));
  const { sandbox, why } = await openSandbox(choice, readable);
  if (sandbox)
    logger.info(
      { sandbox: sandbox.name, version: sandbox.version },
      'jobs without an image are kept apart from this machine',
    );
  else if (choice === 'none') logger.info('jobs without an image are not kept apart from this machine');
  else
    logger.warn(
      { why },
      'jobs without an image are not kept apart from this machine, since bubblewrap does not work here',
    );
  return sandbox;
}

/**
 * What runs images, if that is wanted and there; what a worker left there that was killed is removed.
 * @throws MemoirError BAD_OPTIONS
 */
async function imageRuntime(
  { imageRuntime: choice }: WorkerOptions,
  workDirectory: string,
  logger: Logger,
): Promise<ImageRuntime | undefined> {
  const runtime = choice && (await openImageRuntime(choice));
  if (!runtime) {
    if (choice)
      logger.warn({ tried: runtimeNames }, 'no image runtime works here: jobs that name an image are left to others');
    return undefined;
  }
  const removed = await removeLeftovers(runtime, workDirectory);
  if (removed > 0) logger.warn({ removed }, 'containers of a worker that was killed were removed');
  logger.info({ runtime: runtime.name, version: runtime.version, platform: runtime.platform }, 'images are run');
  return runtime;
}

/** @throws MemoirError BAD_OPTIONS for a network that no run could be given */
function checkNetwork(
  { network }: WorkerOptions,
  runtime: ImageRuntime | undefined,
  sandbox: Sandbox | undefined,
): void {
  if (network === undefined || runtime || (sandbox && network === machineNetwork)) return;
  const why = sandbox ? `a sandbox can be given ${quote(machineNetwork)} alone` : 'no other run is kept from one';
  throw invalid('network', 'BAD_OPTIONS', `--network ${quote(network)} is of no use without --image-runtime: ${why}`);
}

function imagesOf(
  runtime: ImageRuntime,
  connection: Connection,
  { network, path }: WorkerOptions,
  workDirectory: string,
): Images {
  const { resolveImage } = connection.service(ImagesService);
  const pull = imagePuller(runtime, async (dockerImage, signal) => {
    try {
      return (await resolveImage({ dockerImage }, { signal, timeoutMs: 30_000 })).image;
    } catch (error) {
      if (error instanceof CallError && error.code === status.NOT_FOUND) return undefined;
      throw error;
    }
  });
  return { runtime, pull, network, workDirectory, uuid: systemEdge.uuid, setsPath: path !== undefined };
}

/** What the worker offers: what was given, else what the machine has. */
async function poolOf(
  options: WorkerOptions,
  scratch: string,
  runtime: ImageRuntime | undefined,
  sandbox: Sandbox | undefined,
  secrets: readonly HeldSecret[],
): Promise<Pool> {
  const machine = await machineHas(scratch, options.minFree * mebi);
  return openPool({
    cores: options.cores ?? machine.cores,
    ramMb: BigInt(options.ramMb ?? machine.ramMb),
    scratchMb: BigInt(options.scratchMb ?? machine.scratchMb),
    platform: runtime?.platform ?? imagePlatform(),
    imageRuntimes: runtime ? [runtime.name] : [],
    sandbox: sandbox?.name ?? '',
    labels: { ...options.label, ...(options.network !== undefined && { [networkLabel]: options.network }) },
    secrets: offeredSecrets(secrets),
  });
}

/** Scripts are checked out of directories; jobs of other repositories are left to workers that have them. */
function localOnes(
  repositories: Awaited<ReturnType<typeof repositorySettings>>,
): Readonly<Record<string, { readonly path: string }>> {
  return Object.fromEntries(
    Object.entries(repositories).flatMap(([name, { path }]) => (path === undefined ? [] : [[name, { path }]])),
  );
}
