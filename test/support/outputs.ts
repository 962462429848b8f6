import { randomBytes } from 'node:crypto';
import { ContentKind } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { buildTree } from '../../src/content/trees/build-tree.js';
import type { CallSettings } from '../../src/rpc/client.js';
import { contentClient, digestOf, sha256 } from './content.js';
import { plenty } from './runs.js';
import type { Clients } from './server.js';

/** Files of an output, by their paths. */
export type Files = Readonly<Record<string, string>>;

/** The tree of some files. */
export const treeOf = (files: Files) =>
  buildTree(
    Object.entries(files).map(([path, text]) => {
      const blob = { hash: sha256(Buffer.from(text)), size: Buffer.byteLength(text) };
      return { path, blob, executable: false };
    }),
  );

/** Every blob of an output. */
export const blobsOf = (files: Files): Uint8Array[] => [
  ...Object.values(files).map((text) => Buffer.from(text)),
  ...treeOf(files).directories.values(),
];

/** Brings what a server does not have of some blobs. */
export async function upload(
  address: string,
  blobs: readonly Uint8Array[],
  settings: CallSettings = {},
): Promise<void> {
  const client = contentClient(address, 'ada');
  try {
    const { missingBlobDigests } = await client.cas.findMissingBlobs({ blobDigests: blobs.map(digestOf) }, settings);
    const missing = new Set(missingBlobDigests.map(({ hash }) => hash));
    const requests = blobs
      .filter((data) => missing.has(sha256(data)))
      .map((data) => ({ digest: digestOf(data), data }));
    const { responses } = await client.cas.batchUpdateBlobs({ requests }, settings);
    for (const { status } of responses) if (status?.code !== 0) throw new Error(status?.message);
  } finally {
    client.close();
  }
}

/** Has a job claimed, unless it was with this token, and completed with these files; gives the address of its output. */
export async function finishWith(
  client: Clients,
  address: string,
  uuid: string,
  files: Files,
  claimToken: Uint8Array = randomBytes(32),
): Promise<string> {
  await client.worker.claimJob({ uuid, claimToken, offer: plenty });
  const log = Buffer.from(`log of ${uuid}`);
  await upload(address, [...blobsOf(files), log]);
  const { root } = treeOf(files);
  const outputDigest = { hash: root.hash, sizeBytes: BigInt(root.size), kind: ContentKind.TREE };
  const logDigest = { ...digestOf(log), kind: ContentKind.BLOB };
  const { consistencyToken, job } = await client.worker.completeJob({ uuid, claimToken, outputDigest, logDigest });
  await client.jobs.getJob({ uuid, consistencyToken });
  return job?.output ?? '';
}
