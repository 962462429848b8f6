import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { pino } from 'pino';
import {
  Capabilities,
  ContentAddressableStorage,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream } from '../../gen/google/bytestream/bytestream_pb.js';
import type { OfferSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { WorkerService } from '../../gen/memoir/worker/v1/worker_service_pb.js';
import { systemEdge } from '../../src/edge.js';
import { connect } from '../../src/rpc/client.js';
import { openHealth } from '../../src/worker/health.js';
import type { InputSource } from '../../src/worker/inputs/fetch-blobs.js';
import { openInputCache } from '../../src/worker/inputs/input-cache.js';
import { pipesIn } from '../../src/worker/pipes.js';
import { boundsOf } from '../../src/worker/pool/bounds.js';
import { openPool } from '../../src/worker/pool/pool.js';
import type { Images } from '../../src/worker/run/container.js';
import type { MakeGroup } from '../../src/worker/run/control-group.js';
import { keptCheckouts } from '../../src/worker/run/kept-checkouts.js';
import type { Sandbox } from '../../src/worker/run/sandbox.js';
import { workPlace } from '../../src/worker/run-failure.js';
import { scriptEnvironment } from '../../src/worker/script-environment.js';
import { openWorkerSecrets } from '../../src/worker/secrets/give-secrets.js';
import type { HeldSecret } from '../../src/worker/secrets/held-secrets.js';
import { openUnstoredOutputs } from '../../src/worker/store/unstored-outputs.js';
import type { RemoteContent } from '../../src/worker/upload/upload-blobs.js';
import { uploadedOutputs } from '../../src/worker/upload/uploaded-outputs.js';
import { work } from '../../src/worker/worker.js';

const logger = pino({ level: 'silent' });

/** The content of a server as a principal calls it, as workers upload to it. */
export function remoteContent(address: string, principal: string): RemoteContent & InputSource & { close(): void } {
  const connection = connect(address, principal);
  return {
    cas: connection.service(ContentAddressableStorage),
    bytes: connection.service(ByteStream),
    capabilities: connection.service(Capabilities),
    edge: systemEdge,
    logger,
    close: connection.close,
  };
}

/** A worker of a repository. */
export type TestWorker = {
  readonly address: string;
  readonly principal: string;
  readonly repository: readonly [name: string, path: string];
  /** Called before each report that a job is complete. */
  readonly beforeReport?: () => void;
  /** Called with what each claim gave, and the token that names the attempt. */
  readonly onClaim?: (uuid: string, claimToken: Uint8Array) => void;
  /** Jobs at a time; one unless given. */
  readonly jobs?: number;
  /** Where it makes its directory; the system's temporary one unless given. */
  readonly base?: string;
  /** Directory of outputs that cannot be stored, where they outlive this worker. */
  readonly unstored?: string;
  /** Directory of the cache of inputs, where it outlives this worker. */
  readonly inputCache?: string;
  /** Most bytes of inputs. */
  readonly maxBytes?: number;
  /** Where content is left and read; by the server unless given. */
  readonly content?: RemoteContent & InputSource;
  /** Whether inputs share their blocks with the cache where they can. */
  readonly clone?: boolean;
  /** What scripts get beside the environment of every run. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What it has; one core unless given. */
  readonly offer?: MessageInitShape<typeof OfferSchema>;
  /** Secrets that it has; it offers those of its offer. */
  readonly secrets?: readonly HeldSecret[];
  /** What keeps all other jobs apart; nothing unless given. */
  readonly sandbox?: Sandbox | undefined;
  /** What runs images, for a worker with such a directory. */
  readonly images?: (workDirectory: string) => Images;
  /** Network that jobs may ask for. */
  readonly network?: string;
  /** What makes control groups for runs without an image; the system unless given. */
  readonly makeGroup?: MakeGroup;
  /** Ends the work; then running jobs are given back at once. */
  readonly stop?: AbortSignal;
};

/** Runs in this process what is queued, with outputs that are uploaded. */
export async function workOnce({
  address,
  principal,
  repository: [name, path],
  beforeReport,
  onClaim,
  jobs = 1,
  maxBytes = 1_000_000_000,
  clone = true,
  environment = {},
  offer = { cores: 1 },
  images,
  sandbox,
  network,
  makeGroup,
  secrets: held = [],
  stop = new AbortController().signal,
  ...more
}: TestWorker): Promise<void> {
  const base = mkdtempSync(join(more.base ?? tmpdir(), 'memoir-work-'));
  const { inputCache = join(base, 'inputs') } = more;
  const workDirectory = join(base, 'work');
  mkdirSync(workDirectory);
  const pool = openPool(offer);
  const secrets = await openWorkerSecrets(held, workDirectory);
  const connection = connect(address, principal);
  const worker = connection.service(WorkerService);
  const remote = remoteContent(address, principal);
  const { content = remote } = more;
  const directory = more.unstored ?? join(base, 'unstored');
  const unstored = openUnstoredOutputs({ directory, most: 1_000_000, edge: systemEdge, logger });
  try {
    await work(
      {
        worker: {
          ...worker,
          async claimJob(claim, settings) {
            const answer = await worker.claimJob(claim, settings);
            if (answer.job) onClaim?.(answer.job.uuid, answer.claimToken);
            return answer;
          },
          completeJob(report, settings) {
            beforeReport?.();
            return worker.completeJob(report, settings);
          },
        },
        repositories: { [name]: { path } },
        kept: undefined,
        claims: [name],
        environment: { ...scriptEnvironment(process.env, {}), ...environment },
        outputs: uploadedOutputs(content, workPlace),
        unstored,
        staging: {
          source: content,
          cache: await openInputCache(inputCache, 1_000_000_000, { apart: sandbox !== undefined }),
          maxBytes,
          clone,
          link: clone && sandbox !== undefined,
        },
        health: openHealth([], { edge: systemEdge, logger }),
        workDirectory,
        pipes: pipesIn(join(workDirectory, 'pipes')),
        jobs,
        pool,
        bounds: boundsOf(pool, 100),
        images: images?.(workDirectory),
        sandbox,
        checkouts: sandbox && keptCheckouts(join(workDirectory, 'checkouts'), 1_000_000_000, systemEdge.uuid),
        network,
        ...(makeGroup && { makeGroup }),
        secrets,
        once: true,
        leaseMs: 30_000,
        name: `${principal}-1`,
        drainMs: 1_000,
        graceMs: 1_000,
        logLimit: 1_000_000,
        limits: { output: { bytes: 100_000_000, files: 10_000 }, work: 1_000_000_000 },
        edge: systemEdge,
        logger,
      },
      stop,
    );
  } finally {
    await secrets.remove();
    unstored.close();
    remote.close();
    connection.close();
    rmSync(base, { recursive: true, force: true });
  }
}
