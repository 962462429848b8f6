import type { Difference, NearMiss } from '../../../gen/memoir/jobs/v1/near_miss_pb.js';
import { stateName } from '../../domain/job.js';
import { printable } from './printable.js';

/** Most differences that a line names. */
const mostNamed = 3;

/** A past job and in what it differs, such as "3f2a…, Complete, differs in n: 3 → 4". */
export function nearMissLine(miss: NearMiss): string {
  const { uuid, state, differences, differenceCount } = miss;
  const named = differences.slice(0, mostNamed).map(differenceText).join(', ');
  const more = differenceCount - Math.min(differences.length, mostNamed);
  return `${printable(uuid)} (${stateName(state)}), which differs in ${named}${more > 0 ? ` and ${more} more` : ''}${apartText(miss)}`;
}

function differenceText({ field, pointer, past, asked }: Difference): string {
  const name = pointer === '' ? field : pointer.slice(1);
  return `${printable(name)}: ${valueText(past)} → ${valueText(asked)}`;
}

function valueText(value: string | undefined): string {
  if (value === undefined) return 'nothing';
  return value === '' ? '""' : printable(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}

/** How far the commits are apart, such as " (3 commits later)". */
function apartText({ commitsAhead, commitsBehind }: NearMiss): string {
  if (commitsAhead === undefined || commitsBehind === undefined) return '';
  const commits = (count: number) => `${count} commit${count === 1 ? '' : 's'}`;
  if (commitsBehind === 0) return ` (${commits(commitsAhead)} later)`;
  if (commitsAhead === 0) return ` (${commits(commitsBehind)} earlier)`;
  return ` (on another branch: ${commits(commitsAhead)} more, ${commitsBehind} less)`;
}
