import type { FileHandle } from 'node:fs/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { emptyOutput } from '../../domain/empty-output.js';
import type { ContentStore, PutOptions } from './content-store.js';

/** The attempt whose output and log are stored. */
export type HeldRun = { readonly uuid: string; readonly claimToken: Uint8Array };

/** What was stored. */
export type Stored = {
  readonly address: string;
  /** What it is for the server that keeps it; absent if the worker keeps it. */
  readonly digest?: MessageInitShape<typeof DigestSchema>;
  /** How many bytes its files have; absent if they were not counted. */
  readonly bytes?: bigint;
};

/** Where a worker leaves what its jobs make. */
export type Outputs = {
  /**
   * Stores all files under a directory. `isEmpty` says that there were none.
   * @throws as ContentStore.putDirectory
   */
  putDirectory(
    directory: string,
    options: PutOptions & { readonly run: NonNullable<PutOptions['run']>; readonly signal: AbortSignal },
    held: HeldRun,
  ): Promise<Stored & { readonly isEmpty: boolean }>;
  /** Whether what a run had made until it failed is stored too. */
  readonly keepsParts: boolean;
  /** Stores a log. */
  putLog(log: FileHandle, held: HeldRun, signal: AbortSignal): Promise<Stored>;
  /** The place of the worker's whose fault an error of the system is. */
  readonly place: string;
};

/** Keeps them in a directory of the worker's own, from which nobody is given them. */
export function keptOutputs(store: ContentStore, place: string): Outputs {
  return {
    place,
    keepsParts: false,
    async putDirectory(directory, options) {
      const address = await store.putDirectory(directory, options);
      return { address, isEmpty: address === emptyOutput };
    },
    putLog: async (log) => ({ address: await store.putFile(log, 'log.txt') }),
  };
}
