import { ContentKind, type Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { type BlobName, blobText } from '../../content/blob-name.js';
import { checkTree } from '../../content/trees/check-tree.js';
import { isSameEnd } from '../../domain/attempt.js';
import type { CompleteCommand, FailCommand } from '../../domain/commands.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { isFinished } from '../../domain/job.js';
import { addressOf } from '../../domain/outputs/digest.js';
import { recordStored, storeIdOf } from '../../jobs/content/record-content.js';
import type { JobsContext } from '../../jobs/context.js';
import { claimedAttempt } from '../../jobs/running/claimed-attempt.js';
import type { CallContext } from '../call.js';
import { checkedDigest } from './checked-digest.js';
import { blobOf } from './kept-content.js';
import type { RawAccess } from './raw-access.js';

/** The output and log in a worker's report: addresses, or what it left with the server. */
export type GivenResult = {
  readonly output: string;
  readonly log: string;
  readonly outputDigest?: Digest | undefined;
  readonly logDigest?: Digest | undefined;
};

/** Makes a report complete by what it names of content, once all of that is there. */
export type TakeResult = <C extends CompleteCommand | FailCommand>(
  call: CallContext,
  uuid: string,
  given: GivenResult,
  command: (result: Pick<C, 'output' | 'log' | 'outputDigest' | 'logDigest'>) => C,
) => Promise<C>;

/**
 * Makes it. Of content that an attempt may not know to be there it takes nothing, and of a report that was made before it takes what was
 * recorded then.
 * @throws MemoirError FAILED_PRECONDITION CONTENT_INCOMPLETE naming the first digests of what is not there, CONTENT_NOT_TAKEN where this server
 * may not record it; INVALID_ARGUMENT naming a digest, or what is wrong with the tree
 */
export function takeResult(context: JobsContext, raw: RawAccess): TakeResult {
  return async (call, uuid, given, command) => {
    const outputDigest = checked('output_digest', given.outputDigest, ContentKind.TREE, given.output);
    const logDigest = checked('log_digest', given.logDigest, ContentKind.BLOB, given.log);
    const output = outputDigest ? addressOf(outputDigest) : given.output;
    const log = logDigest ? addressOf(logDigest) : given.log;
    const told = command({ output, log, outputDigest, logDigest });
    if (!outputDigest && !logDigest) return told;
    if (!context.sharesRuns) throw notTaken();
    const before = await context.streams.loadFor(call.caller, uuid, told.kind);
    if (before && (isFinished(before.job.state) || isSameEnd(before, told))) return told;
    const record = await claimedAttempt(context.streams, call.caller, uuid, told.tokenDigest);
    const content = await raw.ofAttempt(call, record);
    const missing: BlobName[] = [];
    let outputV1 = '';
    let totalBytes = 0;
    if (outputDigest) {
      const tree = await checkTree(content, blobOf(outputDigest));
      outputV1 = tree.manifest;
      totalBytes = tree.bytes;
      missing.push(...tree.missing);
    }
    if (logDigest) missing.push(...(await content.missing([blobOf(logDigest)])));
    if (missing.length > 0) throw incomplete(missing);
    const attempt = record.attempt?.number ?? 1;
    const by = { job: uuid, attempt };
    const storeId = storeIdOf(await content.identity());
    const logBytes = Number(logDigest?.sizeBytes ?? 0n);
    await Promise.all([
      outputDigest &&
        recordStored(context, call.caller, { ...by, digest: outputDigest, totalBytes, outputV1, storeId }),
      logDigest &&
        recordStored(context, call.caller, {
          ...by,
          digest: logDigest,
          totalBytes: logBytes,
          outputV1: '',
          storeId,
        }),
    ]);
    return told.kind === 'complete' ? { ...told, outputV1 } : told;
  };
}

function checked(field: string, given: Digest | undefined, kind: ContentKind, address: string): Digest | undefined {
  if (!given) return undefined;
  if (given.kind !== kind) {
    throw invalid(`${field}.kind`, 'BAD_DIGEST', `${field}.kind must be CONTENT_KIND_${ContentKind[kind]}`);
  }
  const digest = checkedDigest(field, given);
  if (address !== '' && address !== addressOf(digest)) {
    const other = field.replace('_digest', '');
    throw invalid(
      other,
      'CONTRADICTION',
      `${other} ${quote(address)} is not the address of ${field}, ${addressOf(digest)}`,
    );
  }
  return digest;
}

/** Named are the first; it cannot be told how many more there are below a directory that is missing. */
export function incomplete(missing: readonly BlobName[]): MemoirError {
  const named = missing.slice(0, 5).map(blobText);
  return new MemoirError(
    'FAILED_PRECONDITION',
    'CONTENT_INCOMPLETE',
    `not all of it is here: ${named.join(', ')}${missing.length > named.length ? ' and more' : ''}; upload what is missing, and report again`,
    { metadata: { missing: named.join(' ') } },
  );
}

export function notTaken(): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'CONTENT_NOT_TAKEN',
    'this server may not record yet what it keeps of jobs, which takes log format 4; give the address of what is kept elsewhere',
  );
}
