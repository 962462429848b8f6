import type { memoryLog } from '../kurrentdb-double/log.js';
import { digestOf, type EventData } from './story.js';

const endings = new Set(['JobAttemptEnded', 'JobCompleted', 'JobFailed', 'JobCancelled']);

/** Tells when attempts have ended, by the log as it grows. */
export function endsOf(log: ReturnType<typeof memoryLog>): (token: string) => Promise<void> {
  /** By stream: the digest of the token of the newest attempt. */
  const newest = new Map<string, string>();
  const ended = new Set<string>();
  const waiting = new Map<string, () => void>();
  let read = 0;

  function follow(): void {
    for (; read < log.records.length; read++) {
      const { stream, type, data } = log.records[read] as (typeof log.records)[number];
      if (type === 'JobStarted') {
        const { claimTokenDigest = '' } = JSON.parse(Buffer.from(data).toString()) as EventData;
        newest.set(stream, claimTokenDigest);
      } else if (endings.has(type)) {
        const digest = newest.get(stream) ?? '';
        ended.add(digest);
        waiting.get(digest)?.();
      } else if (type === 'JobResumed') {
        ended.delete(newest.get(stream) ?? '');
      }
    }
  }
  log.onGrowth(follow);
  return (token) => {
    const digest = digestOf(token);
    follow();
    if (ended.has(digest)) return Promise.resolve();
    return new Promise((resolve) => waiting.set(digest, resolve));
  };
}
