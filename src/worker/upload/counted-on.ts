import type { Logger } from 'pino';
import type { ContentAddressableStorage } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import type { BlobName } from '../../content/blob-name.js';
import type { Edge } from '../../edge.js';
import { claimText } from '../../rpc/claim-header.js';
import type { ClientOf } from '../../rpc/client.js';
import type { HeldRun } from '../store/outputs.js';

/** How often what a run counts on is asked for anew, in milliseconds: as often as a server does it for what is in a store of its own. */
const usualEvery = 300_000;

/** Blobs that are asked for at once: what every server takes in one request. */
const asked = 500;

/** How long one such call may take, in milliseconds. */
const callTimeout = 120_000;

/**
 * What runs count on in a store that the worker reaches by itself, so that no server knows of it: their inputs, and what they uploaded or were told to be there. A
 * store of the Remote Execution API lets a blob stay for a time from when it was asked for last (FindMissingBlobs).
 */
export type CountedOn = {
  /** Has blobs be asked for while the run goes on. */
  add(run: HeldRun, blobs: Iterable<BlobName>): void;
  /** Asks for all of a run if that was not done lately. Nobody waits for that, and the run goes on if it fails. */
  renew(run: HeldRun): void;
  /** Forgets a run. */
  end(run: HeldRun): void;
};

type Counted = { readonly blobs: Map<string, number>; renewedAt: number; readonly ended: AbortController };

/** Makes it for a store. `every` is how often a run's blobs are asked for at most, in milliseconds. */
export function countedOn(
  store: {
    readonly cas: Pick<ClientOf<typeof ContentAddressableStorage>, 'findMissingBlobs'>;
    readonly instance?: string;
  },
  edge: Pick<Edge, 'monotonic'>,
  logger: Pick<Logger, 'warn'>,
  every = usualEvery,
): CountedOn {
  const runs = new Map<string, Counted>();
  const keyOf = ({ uuid, claimToken }: HeldRun) => claimText(uuid, claimToken);

  async function ask({ blobs, ended: { signal } }: Counted): Promise<void> {
    const digests = Array.from(blobs, ([hash, size]) => ({ hash, sizeBytes: BigInt(size) }));
    for (let at = 0; at < digests.length && !signal.aborted; at += asked) {
      const blobDigests = digests.slice(at, at + asked);
      const request = { instanceName: store.instance ?? '', blobDigests };
      await store.cas.findMissingBlobs(request, { signal, timeoutMs: callTimeout });
    }
  }

  return {
    add(run, blobs) {
      const key = keyOf(run);
      const counted = runs.get(key) ?? { blobs: new Map(), renewedAt: edge.monotonic(), ended: new AbortController() };
      runs.set(key, counted);
      for (const { hash, size } of blobs) counted.blobs.set(hash, size);
    },
    renew(run) {
      const counted = runs.get(keyOf(run));
      const now = edge.monotonic();
      if (!counted || now - counted.renewedAt < every) return;
      counted.renewedAt = now;
      ask(counted).catch((error) => {
        if (counted.ended.signal.aborted) return;
        logger.warn(
          { err: error, job: run.uuid },
          'what the run counts on could not be asked for in the store of content',
        );
      });
    },
    end(run) {
      runs.get(keyOf(run))?.ended.abort();
      runs.delete(keyOf(run));
    },
  };
}
