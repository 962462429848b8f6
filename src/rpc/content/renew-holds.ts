import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { heldFor } from '../../content/blob-files.js';
import type { BlobName } from '../../content/blob-name.js';
import type { Bringers } from '../../content/brought.js';
import type { ContentStore } from '../../content/content.js';
import type { JobRecord } from '../../domain/job.js';
import type { Edge } from '../../edge.js';
import { attemptKey } from '../../jobs/running/claimed-attempt.js';
import { blobOf } from './kept-content.js';
import { claimKey } from './raw-access.js';

/** How often what an attempt counts on is held anew at most, in milliseconds: a hold lasts for an hour. */
const renewEvery = 300_000;

/** Attempts of which it is known when that was. */
const mostKnown = 100_000;

/** Blobs that are held in one turn. */
const atOnce = 1_000;

/** Has everything stay for another hour that an attempt counts on; nobody waits for that. */
export type RenewHolds = (record: Pick<JobRecord, 'job' | 'attempt'>, tokenDigest: string | undefined) => void;

/**
 * Makes it: what an attempt brought or was told to be there, and the roots of what its job is given. So that a run, or an upload, of many hours finds at its end
 * what it left at its beginning.
 */
export function renewHolds(
  content: Pick<ContentStore, 'hold'>,
  bringers: Bringers,
  edge: Pick<Edge, 'monotonic'>,
  logger: Pick<Logger, 'warn'>,
): RenewHolds {
  const renewed = new LRUCache<string, number>({ maxSize: mostKnown, sizeCalculation: () => 1 });

  async function hold(names: readonly BlobName[]): Promise<void> {
    for (let at = 0; at < names.length; at += atOnce) await content.hold(names.slice(at, at + atOnce), heldFor);
  }

  return (record, tokenDigest) => {
    const key = attemptKey(record);
    const now = edge.monotonic();
    const last = renewed.get(key);
    if (last !== undefined && now - last < renewEvery) return;
    renewed.set(key, now);
    const { uuid, inputs } = record.job;
    const given = inputs.flatMap((input) => (input.content ? [blobOf(input.content)] : []));
    const left = bringers.of(key).countedOn();
    const claimed = tokenDigest === undefined ? [] : bringers.of(claimKey({ uuid, tokenDigest })).countedOn();
    const names = [...new Map([...given, ...left, ...claimed].map((name) => [name.hash, name])).values()];
    if (names.length === 0) return;
    hold(names).catch((error) => logger.warn({ err: error, job: uuid }, 'what an attempt left could not be held'));
  };
}
