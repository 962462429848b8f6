import { basename, join, resolve } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import {
  Capabilities,
  ContentAddressableStorage,
} from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream } from '../../../gen/google/bytestream/bytestream_pb.js';
import { ContentService } from '../../../gen/memoir/content/v1/content_service_pb.js';
import { invalid, type MemoirError, quote } from '../../domain/errors.js';
import { type ContentUrl, parseContentUrl } from '../../domain/outputs/content-url.js';
import { systemEdge } from '../../edge.js';
import { CallError } from '../../rpc/call-error.js';
import { type Connection, connect } from '../../rpc/client.js';
import { type InputCache, openInputCache } from '../../worker/inputs/input-cache.js';
import { retrying } from '../../worker/retry.js';
import { workPlace } from '../../worker/run-failure.js';
import type { Outputs } from '../../worker/store/outputs.js';
import { countedOn } from '../../worker/upload/counted-on.js';
import type { RemoteContent } from '../../worker/upload/upload-blobs.js';
import { uploadedOutputs } from '../../worker/upload/uploaded-outputs.js';
import { readPem } from '../credentials.js';

const mebi = 1024 ** 2;

/** How long `once` waits for a server that is not there, in milliseconds. */
const onceWaitMs = 10_000;

/** Options of `memoir worker` that say where content is left and read. */
export type ContentOptions = {
  readonly workDir: string;
  readonly once?: boolean;
  readonly inputCache?: string;
  readonly inputCacheMb: number;
  readonly content?: string;
  readonly contentCa?: string;
};

/**
 * Outputs that are uploaded, once the server has said that it takes them; undefined if the worker is told to end before.
 * @throws MemoirError BAD_OPTIONS if it does not take them; CallError as of a claim
 */
export async function uploading(
  connection: Connection,
  content: RemoteContent,
  { once }: ContentOptions,
  draining: AbortSignal,
  logger: Logger,
): Promise<Outputs | undefined> {
  const { describeContent } = connection.service(ContentService);
  const patience = once ? AbortSignal.any([draining, AbortSignal.timeout(onceWaitMs)]) : draining;
  let last: unknown;
  try {
    const { takesOutputs } = await retrying(patience, async (before) => {
      if (before === 1) logger.warn('the server cannot be reached; trying again');
      try {
        return await describeContent({}, { signal: patience, timeoutMs: 10_000 });
      } catch (error) {
        if (!patience.aborted) last = error;
        throw error;
      }
    });
    if (!takesOutputs) throw notTaken('may not record yet what it keeps of jobs (log_format is below 4)');
  } catch (error) {
    if (draining.aborted) return undefined;
    if (patience.aborted) throw last ?? error;
    const unknown = error instanceof CallError && error.code === status.UNIMPLEMENTED;
    throw unknown ? notTaken('is too old to keep what jobs make') : error;
  }
  return uploadedOutputs(content, workPlace);
}

/**
 * Where content is left and read: by the server, or in the store that it uses itself.
 * @throws MemoirError BAD_CONTENT_URL
 */
export function contentOf({ content, contentCa }: ContentOptions, connection: Connection, logger: Logger) {
  const { address, tls, instance } = content === undefined ? serverItself : parseContentUrl(content);
  if (contentCa !== undefined && !tls) {
    throw invalid('content_ca', 'BAD_OPTIONS', '--content-ca goes with a --content of grpcs: alone');
  }
  const by = contentCa === undefined ? tls : { ca: readPem('--content-ca', contentCa) };
  const elsewhere = content === undefined ? undefined : connect(address, 'memoir', { tls: by });
  const to = elsewhere ?? connection;
  const cas = to.service(ContentAddressableStorage);
  return {
    cas,
    bytes: to.service(ByteStream),
    capabilities: to.service(Capabilities),
    instance,
    elsewhere: elsewhere !== undefined,
    // Of what is left with the server, heartbeats do it.
    ...(elsewhere && { countedOn: countedOn({ cas, instance }, systemEdge, logger) }),
    edge: systemEdge,
    logger,
    close: () => elsewhere?.close(),
  };
}

const serverItself: ContentUrl = { address: '', tls: false, instance: '' };

/** The number of a worker's own directory among those of one work directory. */
export const numberOf = (own: string): string => basename(own).replace(/^.*-/, '');

/**
 * Inputs that jobs were given, in a directory of this worker alone: whose number is its own among those that share the work directory.
 * @param apart whether runs are kept from it
 * @throws MemoirError BAD_OPTIONS if it cannot be used
 */
export async function inputCache(
  { workDir, inputCache: given, inputCacheMb }: ContentOptions,
  own: string,
  apart: boolean,
): Promise<InputCache> {
  const number = numberOf(own);
  const path = given === undefined ? join(resolve(workDir), `.memoir-inputs-${number}`) : join(resolve(given), number);
  try {
    return await openInputCache(path, inputCacheMb * mebi, { apart });
  } catch (error) {
    throw invalid(
      'input-cache',
      'BAD_OPTIONS',
      `--input-cache ${quote(path)} cannot be used: ${(error as Error).message}`,
    );
  }
}

function notTaken(why: string): MemoirError {
  return invalid('store-dir', 'BAD_OPTIONS', `--store-dir is required here, since the server ${why}`);
}
