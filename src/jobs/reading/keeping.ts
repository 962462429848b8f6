import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type Keeping, KeepingSchema, type Loss, LossSchema } from '../../../gen/memoir/jobs/v1/keeping_pb.js';
import type { LossRow } from '../../../projections/read-model/content/content.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { Access } from '../../domain/access.js';

/** Most losses that are told of a job. */
const mostLosses = 100;

/** How long what a job left stays, and when it was not there, as a caller may know it who may read the job; undefined if there is nothing to tell. */
export function keepingOf(
  { retention, content, lineage }: Pick<ReadModel, 'retention' | 'content' | 'lineage'>,
  access: Pick<Access, 'steers'>,
  job: Job,
): Keeping | undefined {
  const place = lineage.position(job.uuid);
  const wanted = place === undefined ? undefined : retention.wanted(place);
  const { ttl = null, kept_until: keptUntil = null } = wanted ?? {};
  // Who may not pin it is not told that somebody did.
  const pinnedAt = access.steers(job) ? (wanted?.pinned_at ?? null) : null;
  // What was lost before the job gave it was another's, of which its readers need not know.
  const since = job.finishedAt ? timestampMs(job.finishedAt) : Number.POSITIVE_INFINITY;
  const losses = [...new Set([job.output, job.log])]
    .flatMap((address) => content.recordedLosses(address).map((row) => ({ address, row })))
    .filter(({ row }) => row.lost_at >= since && (place === undefined || row.position > place))
    .sort((a, b) => a.row.position - b.row.position)
    .slice(-mostLosses);
  if (ttl === null && keptUntil === null && pinnedAt === null && losses.length === 0) return undefined;
  return create(KeepingSchema, {
    ...(ttl !== null && { outputTtl: durationFromMs(ttl) }),
    ...(keptUntil !== null && { keptUntil: timestampFromMs(keptUntil) }),
    ...(pinnedAt !== null && { pinnedAt: timestampFromMs(pinnedAt) }),
    losses: losses.map(({ address, row }) => lossOf(address, row)),
  });
}

function lossOf(address: string, { reason, missing, path, lost_at, found }: LossRow): Loss {
  const [hash = '', size = '0'] = missing.split('/');
  return create(LossSchema, {
    address,
    reason: ContentLossReason[reason],
    ...(missing !== '' && { missing: { hash, sizeBytes: BigInt(size) } }),
    path,
    lostAt: timestampFromMs(lost_at),
    found: found !== null,
  });
}
