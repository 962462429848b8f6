import { DigestFunction_Value } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ContentKind, type Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { BlobName } from '../../content/blob-name.js';
import type { Bringers } from '../../content/brought.js';
import { broughtContent, notedContent } from '../../content/brought-content.js';
import type { ContentStore } from '../../content/content.js';
import { type KnownContent, knowTrees } from '../../content/known-trees.js';
import { unknownInstance } from '../../content/resource-name.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import type { JobStreams } from '../../jobs/job-streams.js';
import { attemptKey, claimedAttempt } from '../../jobs/running/claimed-attempt.js';
import type { CallContext } from '../call.js';
import type { AttemptClaim } from '../claim-header.js';
import { blobOf } from './kept-content.js';

/** Bytes by their address, as a caller may have them. */
export type Raw = {
  readonly content: ContentStore;
  /** Looks again, in a call that goes on. @throws as `RawAccess` */
  check(): void;
};

/** What callers may have of content by its address: an address is a name, and no permission to have what it names. */
export type RawAccess = {
  /**
   * All content for who may run jobs of every repository, with a note of what an attempt of it counts on by its claim token; for who speaks for an attempt by its claim token what that attempt brought and what
   * its job is given; for who may request jobs what it brought or put itself.
   * @throws MemoirError PERMISSION_DENIED, the same whatever is there; what is wrong with the claim
   */
  of(call: CallContext): Promise<Raw>;
  /** The same without regard to a claim token. */
  own(call: CallContext): Raw;
  /** What an attempt may leave as its own: what it brought or was given, or anything where its worker may have all. */
  ofAttempt(call: CallContext, record: Pick<JobRecord, 'job' | 'attempt'>): Promise<ContentStore>;
};

/** What it is made with. */
export type RawContext = {
  readonly streams: Pick<JobStreams, 'loadFor'>;
  readonly readModel: { readonly givers: Pick<ReadModel['givers'], 'put'> };
};

/** Makes it. `bringers` are those of this server. */
export function rawAccess(content: ContentStore, { streams, readModel }: RawContext, bringers: Bringers): RawAccess {
  const knowAll = knowTrees(content);

  async function ofAttempt({ caller }: CallContext, record: Pick<JobRecord, 'job' | 'attempt'>): Promise<ContentStore> {
    if (caller.access.worksAll) return content;
    const key = attemptKey(record);
    const brought = bringers.of(key);
    const given = record.job.inputs.flatMap(({ digest }) => (digest ? [knownContent(digest)] : []));
    if (given.length > 0) await knowAll(brought, key, given);
    return broughtContent(content, brought);
  }

  /** What somebody brought who may request jobs, or put before, which this server may not remember. */
  function ofPrincipal(principal: string): ContentStore {
    const key = `put by ${principal}`;
    const brought = bringers.of(key);
    const own = broughtContent(content, brought);
    async function recall(names: readonly BlobName[]): Promise<void> {
      for (const { hash } of names) {
        if (brought.has(hash)) continue;
        const put = readModel.givers.put(hash, principal);
        if (!put) continue;
        const blob = { hash, size: put.size };
        await knowAll(brought, key, [{ blob, isTree: put.kind === ContentKind.TREE }]);
      }
    }
    return {
      ...own,
      async missing(names) {
        await recall(names);
        return own.missing(names);
      },
      async read(name, offset, limit) {
        await recall([name]);
        return own.read(name, offset, limit);
      },
      async get(names) {
        await recall(names);
        return own.get(names);
      },
    };
  }

  function own(call: CallContext): Raw {
    const { access, principal } = call.caller;
    if (access.worksAll) return { content, check: () => check(call, 'worksAll') };
    if (!access.submitsSome) throw noRawContent(call);
    return { content: ofPrincipal(principal), check: () => check(call, 'submitsSome') };
  }

  return {
    ofAttempt,
    own,
    async of(call) {
      const claim = call.claim();
      if (!claim) return own(call);
      if (call.caller.access.worksAll) {
        const raw = own(call);
        return { ...raw, content: notedContent(raw.content, bringers.of(claimKey(claim))) };
      }
      const record = await claimedAttempt(streams, call.caller, claim.uuid, claim.tokenDigest);
      return { content: await ofAttempt(call, record), check: () => undefined };
    },
  };
}

/** What an attempt is called of which nothing but its claim is known. */
export const claimKey = ({ uuid, tokenDigest }: AttemptClaim): string => `${uuid} by ${tokenDigest}`;

const knownContent = (digest: Digest): KnownContent => ({
  blob: blobOf(digest),
  isTree: digest.kind === ContentKind.TREE,
});

function check(call: CallContext, may: 'worksAll' | 'submitsSome'): void {
  if (!call.access()[may]) throw noRawContent(call);
}

function noRawContent({ caller }: CallContext): MemoirError {
  return new MemoirError(
    'PERMISSION_DENIED',
    'NO_RAW_CONTENT',
    `${quote(caller.principal)} may not read or write content by its address: that takes the role worker in every repository, the claim token of an attempt, or for one's own content the role submitter`,
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
