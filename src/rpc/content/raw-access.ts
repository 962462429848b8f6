import { DigestFunction_Value } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import type { Bringers } from '../../content/brought.js';
import { broughtContent } from '../../content/brought-content.js';
import type { ContentStore } from '../../content/content.js';
import { unknownInstance } from '../../content/resource-name.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import type { JobStreams } from '../../jobs/job-streams.js';
import { attemptKey, claimedAttempt } from '../../jobs/running/claimed-attempt.js';
import type { CallContext } from '../call.js';

/** Bytes by their address, as a caller may have them. */
export type Raw = {
  readonly content: ContentStore;
  /** Looks again, in a call that goes on. @throws as `RawAccess` */
  check(): void;
};

/** What callers may have of content by its address: an address is a name, and no permission to have what it names. */
export type RawAccess = {
  /**
   * All content for who may run jobs of every repository; for who speaks for an attempt by its claim token what that attempt brought.
   * @throws MemoirError PERMISSION_DENIED, the same whatever is there; what is wrong with the claim
   */
  of(call: CallContext): Promise<Raw>;
  /** What an attempt may leave as its own: what it brought, or anything where its worker may have all. */
  ofAttempt(call: CallContext, record: Pick<JobRecord, 'job' | 'attempt'>): ContentStore;
};

/** Makes it. `bringers` are those of this server. */
export function rawAccess(content: ContentStore, streams: Pick<JobStreams, 'loadFor'>, bringers: Bringers): RawAccess {
  const ofAttempt: RawAccess['ofAttempt'] = ({ caller }, record) =>
    caller.access.worksAll ? content : broughtContent(content, bringers.of(attemptKey(record)));
  return {
    ofAttempt,
    async of(call) {
      if (call.caller.access.worksAll) {
        return { content, check: () => checkWorksAll(call) };
      }
      const claim = call.claim();
      if (!claim) throw noRawContent(call);
      const record = await claimedAttempt(streams, call.caller, claim.uuid, claim.tokenDigest);
      return { content: ofAttempt(call, record), check: () => undefined };
    },
  };
}

function checkWorksAll(call: CallContext): void {
  if (!call.access().worksAll) throw noRawContent(call);
}

function noRawContent({ caller }: CallContext): MemoirError {
  return new MemoirError(
    'PERMISSION_DENIED',
    'NO_RAW_CONTENT',
    `${quote(caller.principal)} may not read or write content by its address: that takes the role worker in every repository, or the claim token of an attempt`,
  );
}

/** @throws MemoirError INVALID_ARGUMENT if another instance is asked for, or another hash function */
export function checkAsked(instance: string, digestFunction: DigestFunction_Value): void {
  if (instance !== '') throw unknownInstance('instance_name', instance);
  if (digestFunction === DigestFunction_Value.UNKNOWN || digestFunction === DigestFunction_Value.SHA256) return;
  const name = DigestFunction_Value[digestFunction] ?? String(digestFunction);
  throw new MemoirError(
    'INVALID_ARGUMENT',
    'NO_SUCH_DIGEST_FUNCTION',
    `digest_function ${name}: content is named by SHA256 here`,
    {
      field: 'digest_function',
    },
  );
}
