import { setImmediate as turn } from 'node:timers/promises';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import { ContentKind } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { ContentRow } from '../../../projections/read-model/content/content.js';
import type { RetainedRow } from '../../../projections/read-model/content/retention.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import type { Root } from '../../content/blobs-of-root.js';

/** Jobs, or outputs and logs, that are looked at between two turns of others. */
const page = 500;

/** How long after it was stored what a job left stays in any case, in milliseconds: the job may be about to be complete with it. */
const storedFor = 24 * 3_600_000;

/** What is known of something that servers keep. */
export type Retained = {
  readonly row: ContentRow;
  readonly root: Root;
  /** Owner of the job that left it and was asked for last, or who put it; empty if nobody did. */
  readonly owner: string;
  /** When somebody asked for it last, in milliseconds since 1970-01-01T00:00Z. */
  readonly askedAt: number;
  /** Whether it stays whatever room there is: by a pin, as an input, or since it is new. */
  readonly fast: boolean;
  /** Whether anything keeps it. */
  readonly kept: boolean;
  /** Whether it is lost, as by an earlier sweep. */
  readonly lost: boolean;
};

/** An address anywhere in a text. */
const addresses = /sha256:([0-9a-f]{64})/g;

type Use = { owner: string; askedAt: number; fast: boolean; kept: boolean };

/**
 * What jobs keep of what servers have, in the order in which it was stored.
 * @param keep - how long what nobody asked to stay stays, in milliseconds; undefined for ever
 */
export async function retained(
  { content, retention }: Pick<ReadModel, 'content' | 'retention'>,
  keep: number | undefined,
  now: number,
): Promise<readonly Retained[]> {
  const uses = new Map<string, Use>();

  function use(address: string, more: Use): void {
    const row = content.ofAddress(address);
    if (!row) return;
    const before = uses.get(row.hash);
    if (!before) {
      uses.set(row.hash, more);
      return;
    }
    if (more.askedAt >= before.askedAt && more.owner !== '') before.owner = more.owner;
    before.askedAt = Math.max(before.askedAt, more.askedAt);
    before.fast ||= more.fast;
    before.kept ||= more.kept;
  }

  const isKept = ({ ended, pinned_at, kept_until, asked_at }: RetainedRow) =>
    ended === 0 ||
    pinned_at !== null ||
    (kept_until !== null && kept_until > now) ||
    (asked_at !== null && (keep === undefined || asked_at + keep > now));

  for (let after = 0; ; await turn()) {
    const jobs = retention.page(after, page);
    for (const job of jobs) {
      const kept = isKept(job);
      const askedAt = Math.max(job.asked_at ?? 0, job.kept_until !== null ? Math.min(job.kept_until, now) : 0);
      const of = { owner: job.owner, askedAt, fast: job.pinned_at !== null || job.ended === 0, kept };
      for (const address of [job.output, job.log]) if (address !== '') use(address, { ...of });
      if (job.attempt_count > 0) {
        for (const { log, output } of retention.attempts(job.position)) {
          for (const address of [log, output]) if (address !== '') use(address, { ...of });
        }
      }
      if (!kept) continue;
      for (const [address] of job.script_parameters.matchAll(addresses)) {
        use(address, { owner: '', askedAt, fast: true, kept: true });
      }
    }
    const last = jobs.at(-1);
    if (!last || jobs.length < page) break;
    after = last.position;
  }

  const all: Retained[] = [];
  for (let after = 0; ; await turn()) {
    const rows = content.stored(after, page);
    for (const row of rows) {
      const used = uses.get(row.hash);
      const own = row.of_job === 0 && (keep === undefined || row.stored_at + keep > now);
      const fresh = row.stored_at + storedFor > now;
      const lostBy = content.lostBy(row.hash);
      const gone = lostBy.includes(ContentLossReason.EVICTED) || lostBy.includes(ContentLossReason.ERASED);
      all.push({
        row,
        root: { name: { hash: row.hash, size: row.size }, isTree: row.kind === ContentKind.TREE },
        owner: used?.owner || (row.of_job === 0 && content.putBy(row.hash)) || '',
        askedAt: Math.max(used?.askedAt ?? 0, row.of_job === 0 ? row.stored_at : 0),
        fast: used?.fast === true || fresh,
        kept: !gone && (used?.kept === true || own || fresh),
        lost: lostBy.length > 0,
      });
    }
    const last = rows.at(-1);
    if (!last || rows.length < page) return all;
    after = last.position;
  }
}
