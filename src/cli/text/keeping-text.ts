import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Loss } from '../../../gen/memoir/jobs/v1/keeping_pb.js';
import { printable } from './printable.js';
import { age, instant, span } from './time-text.js';

/** How long what a job left stays, and when it was not there, one fact a line. */
export function keepingLines({ keeping, log }: Job, nowMs: number): (readonly [string, string])[] {
  if (!keeping) return [];
  const { outputTtl, keptUntil, pinnedAt, losses } = keeping;
  return [
    ['output ttl', outputTtl ? span(durationMs(outputTtl)) : ''],
    ['asked for until', instant(keptUntil)],
    ['pinned', pinnedAt ? `since ${instant(pinnedAt)} (${age(pinnedAt, nowMs)})` : ''],
    ...losses.map((loss) => [loss.address === log ? 'log lost' : 'output lost', lossText(loss, nowMs)] as const),
  ];
}

const reasons: Readonly<Record<string, string>> = {
  EVICTED: 'nothing kept it any more',
  NOT_FOUND: 'was not there',
  CORRUPT: 'had other bytes than its own',
  ERASED: 'was erased',
};

function lossText({ address, reason, missing, path, lostAt, found }: Loss, nowMs: number): string {
  const blob = missing ? `${missing.hash}/${missing.sizeBytes}` : '';
  const part = path === '' ? '' : `${JSON.stringify(path)} (${blob}) `;
  // What went as a whole is named by its address already.
  const other = path === '' && blob !== '' && !address.endsWith(missing?.hash ?? '') ? `${blob} ` : '';
  const text = `${part}${other}${reasons[reason] ?? reason}`;
  return `${instant(lostAt)} (${age(lostAt, nowMs)}): ${printable(text)}${found ? '; there again since' : ''}`;
}
