import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  EraseContentResponseSchema,
  GetUsageResponseSchema,
  PinJobResponseSchema,
  type RetentionService,
  StreamSweepContentResponseSchema,
  StreamVerifyContentResponseSchema,
  SweepContentResponseSchema,
  UnpinJobResponseSchema,
  VerifyContentResponseSchema,
} from '../../../gen/memoir/content/v1/retention_service_pb.js';
import type { ContentStore } from '../../content/content.js';
import type { LocalContent } from '../../content/local-content.js';
import { invalid, quote } from '../../domain/errors.js';
import type { Caller } from '../../jobs/caller.js';
import { pinJob } from '../../jobs/content/pin-job.js';
import type { Retention, SweepProgress, Swept, Verified, VerifyProgress } from '../../jobs/content/retention.js';
import type { JobsContext } from '../../jobs/context.js';
import { needsSharedRuns } from '../../jobs/deciding/needs-shared-runs.js';
import { checkRequired, checkUuid, textLimits } from '../../jobs/limits.js';
import { denied } from '../../jobs/reading/permit.js';
import type { Implementation } from '../service.js';
import { telling } from '../telling.js';
import { tokenOf } from '../tokens.js';

/** Most entries of a list in an answer. */
const mostListed = 1_000;

/** memoir.content.v1.RetentionService. `retention` is absent where log format 4 is not allowed. */
export function retentionService(
  context: JobsContext,
  content: Pick<ContentStore, 'identity'>,
  local: Pick<LocalContent, 'usage'> | undefined,
  retention: Retention | undefined,
): Implementation<typeof RetentionService> {
  const { readModel } = context;

  function administering({ access, principal }: Caller, what: string): void {
    if (!access.administersAll) throw denied({ principal }, what);
  }

  function needed(): Retention {
    if (!retention) throw needsSharedRuns('to keep content for a time');
    return retention;
  }

  return {
    async getUsage(_, { caller }) {
      administering(caller, 'look at how much content is kept');
      const none = { blobs: 0, bytes: 0, free: 0, whole: 0 };
      const [{ blobs, bytes, free, whole }, { id }] = await Promise.all([local?.usage() ?? none, content.identity()]);
      const those = retention ? await retention.retained() : [];
      const of = new Map<string, { kept: number; bytes: number }>();
      for (const { owner, row, lost } of those) {
        if (lost) continue;
        const sum = of.get(owner) ?? { kept: 0, bytes: 0 };
        sum.kept++;
        sum.bytes += row.total || row.size;
        of.set(owner, sum);
      }
      const largest = [...of].sort(([, a], [, b]) => b.bytes - a.bytes).slice(0, mostListed);
      const lost = those.filter((one) => one.lost).length;
      return create(GetUsageResponseSchema, {
        storeId: id,
        blobs: BigInt(blobs),
        bytes: BigInt(bytes),
        freeBytes: BigInt(Math.floor(free)),
        diskBytes: BigInt(Math.floor(whole)),
        kept: BigInt(those.length - lost),
        lost: BigInt(lost),
        principals: largest.map(([principal, sum]) => ({
          principal,
          kept: BigInt(sum.kept),
          bytes: BigInt(sum.bytes),
        })),
      });
    },

    async verifyContent(_, { caller }) {
      administering(caller, 'verify content');
      const { lookedAt, lost, newlyLost, found } = await needed().verify();
      return create(VerifyContentResponseSchema, {
        lookedAt: BigInt(lookedAt),
        lost: lost.slice(0, mostListed),
        newlyLost: BigInt(newlyLost),
        found: BigInt(found),
      });
    },

    async sweepContent({ dryRun }, { caller }) {
      administering(caller, 'sweep content');
      const { evicted, blobs, bytes, kept } = await needed().sweep(dryRun);
      return create(SweepContentResponseSchema, {
        evicted: evicted.slice(0, mostListed),
        evictedCount: BigInt(evicted.length),
        blobs: BigInt(blobs),
        bytes: BigInt(bytes),
        kept: BigInt(kept),
      });
    },

    async *streamVerifyContent(_, { caller, signal }) {
      administering(caller, 'verify content');
      const { verify } = needed();
      for await (const one of telling<VerifyProgress, Verified>((tell) => verify({ signal, tell }))) {
        const { lookedAt, total, lost, newlyLost, found } =
          'done' in one ? { ...one.done, total: one.done.lookedAt, lost: [] } : merged(one.told);
        const figures = { lookedAt: BigInt(lookedAt), total: BigInt(total), newlyLost: BigInt(newlyLost) };
        const more = { ...figures, found: BigInt(found), done: 'done' in one };
        for (const some of parts(lost)) yield create(StreamVerifyContentResponseSchema, { ...more, lost: some });
      }
    },

    async *streamSweepContent({ dryRun }, { caller, signal }) {
      administering(caller, 'sweep content');
      const { sweep } = needed();
      for await (const one of telling<SweepProgress, Swept>((tell) => sweep(dryRun, { signal, tell }))) {
        if ('done' in one) {
          const { evicted, kept, blobs, bytes } = one.done;
          const total = BigInt(evicted.length + kept);
          const figures = { blobs: BigInt(blobs), bytes: BigInt(bytes), kept: BigInt(kept) };
          yield create(StreamSweepContentResponseSchema, { lookedAt: total, total, done: true, ...figures });
          continue;
        }
        const last = one.told.at(-1) as SweepProgress;
        const evicted = one.told.flatMap((told) => told.evicted);
        const figures = { lookedAt: BigInt(last.lookedAt), total: BigInt(last.total) };
        const blobsLookedAt = BigInt(last.blobsLookedAt);
        for (const some of parts(evicted)) {
          yield create(StreamSweepContentResponseSchema, { ...figures, blobsLookedAt, evicted: some });
        }
      }
    },

    async eraseContent({ address, reason }, { caller }) {
      administering(caller, 'erase content');
      checkRequired('address', address, textLimits.address);
      checkRequired('reason', reason, textLimits.reason);
      if (reason.trim() === '') throw invalid('reason', 'REQUIRED', `reason ${quote(reason)} says nothing`);
      const { lost, blobs, stays, staysCount } = await needed().erase(caller, address, reason);
      return create(EraseContentResponseSchema, {
        lost: lost.slice(0, mostListed),
        lostCount: BigInt(lost.length),
        blobs: BigInt(blobs),
        stays: [...stays],
        staysCount: BigInt(staysCount),
      });
    },

    async pinJob({ uuid }, { caller }) {
      const wanted = checkUuid('uuid', uuid);
      needed();
      const { position, at } = await pinJob(context, caller, wanted, true);
      return create(PinJobResponseSchema, {
        consistencyToken: tokenOf(readModel, position),
        ...(at !== undefined && { pinnedAt: timestampFromMs(at) }),
      });
    },

    async unpinJob({ uuid }, { caller }) {
      const wanted = checkUuid('uuid', uuid);
      needed();
      const { position } = await pinJob(context, caller, wanted, false);
      return create(UnpinJobResponseSchema, { consistencyToken: tokenOf(readModel, position) });
    },
  };
}

/** What was told several times, as if at once. */
function merged(told: readonly VerifyProgress[]): VerifyProgress {
  return { ...(told.at(-1) as VerifyProgress), lost: told.flatMap(({ lost }) => lost) };
}

/** A list in parts that a message each has, one at least. */
function* parts<T>(list: readonly T[]): Generator<T[]> {
  for (let at = 0; at === 0 || at < list.length; at += mostListed) yield list.slice(at, at + mostListed);
}
