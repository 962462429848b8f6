import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { CommitRangeTarget, Exclusion, WorkerTarget } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import { quote } from './errors.js';
import { addressesOf } from './outputs/addresses.js';
import type { Ran } from './reuse.js';

/** What an exclusion looks at in a job. */
export type ExcludableJob = {
  readonly uuid: string;
  readonly repository: string;
  readonly scriptVersion: string;
  readonly dockerImageLocator: string;
  /** Empty unless it is complete and has one. */
  readonly output: string;
  /** The other address of it; absent or empty if it has none. */
  readonly outputV1?: string;
  /** Where and when it ran, or runs; absent if it is queued, or ended otherwise than well. */
  readonly ran?: Ran;
};

/** What is excluded, as the oneof of a message holds it. */
export type ExclusionTarget = Exclusion['target'];

/** Whether a target is of no repository. */
export function isOfNone({ case: kind }: ExclusionTarget): boolean {
  return kind === 'dockerImageLocator' || kind === 'output' || kind === 'worker';
}

/** Whether a commit is in a range; undefined if that cannot be told now. */
export type InRange = (range: CommitRangeTarget, commit: string) => boolean | undefined;

/**
 * Whether an exclusion hits a job by what it is itself. A commit of which nobody can tell whether it is in the range counts as hit:
 * an exclusion that silently does not hold would be worse than a run too many.
 */
export function hitsItself(exclusion: Excluding, job: ExcludableJob, inRange: InRange): boolean {
  const { target } = exclusion;
  switch (target.case) {
    case 'jobUuid':
      return job.uuid === target.value;
    case 'commit':
      return job.repository === target.value.repository && job.scriptVersion === target.value.commit;
    case 'commitRange':
      return job.repository === target.value.repository && (inRange(target.value, job.scriptVersion) ?? true);
    case 'dockerImageLocator':
      return job.dockerImageLocator === target.value;
    case 'output':
      return excludedOutputs(exclusion).some((address) => addressesOf(job).includes(address));
    case 'worker':
      return job.ran !== undefined && ranThere(target.value, job.ran);
    default:
      return false;
  }
}

/** What an exclusion is told by. */
export type Excluding = Pick<Exclusion, 'target'> & Partial<Pick<Exclusion, 'outputV1'>>;

/** The addresses of the output that an exclusion is of; none if it is of something else. */
export function excludedOutputs({ target, outputV1 }: Excluding): readonly string[] {
  if (target.case !== 'output') return [];
  return outputV1 ? [target.value, outputV1] : [target.value];
}

/** Whether something ran at a worker, and not wholly before or after the time. Clocks may have been set back while it ran. */
function ranThere({ principal, workerName, since, until }: WorkerTarget, ran: Ran): boolean {
  if (ran.worker !== principal || (workerName !== '' && ran.workerName !== workerName)) return false;
  const end = ran.until ?? Number.POSITIVE_INFINITY;
  if (since && Math.max(ran.from, end) < timestampMs(since)) return false;
  return !until || Math.min(ran.from, end) < timestampMs(until);
}

/** Whether two exclusions have the same target. */
export function isSameTarget(
  { target: a }: Pick<Exclusion, 'target'>,
  { target: b }: Pick<Exclusion, 'target'>,
): boolean {
  if (a.case === 'commit' && b.case === 'commit') {
    return a.value.repository === b.value.repository && a.value.commit === b.value.commit;
  }
  if (a.case === 'commitRange' && b.case === 'commitRange') {
    const [one, other] = [a.value, b.value];
    return (
      one.repository === other.repository && one.introducedBy === other.introducedBy && one.fixedBy === other.fixedBy
    );
  }
  if (a.case === 'worker' && b.case === 'worker') {
    const [one, other] = [a.value, b.value];
    return (
      one.principal === other.principal &&
      one.workerName === other.workerName &&
      isSameTime(one.since, other.since) &&
      isSameTime(one.until, other.until)
    );
  }
  return a.case === b.case && a.value === b.value;
}

function isSameTime(one: Timestamp | undefined, other: Timestamp | undefined): boolean {
  return one?.seconds === other?.seconds && one?.nanos === other?.nanos;
}

/** What an exclusion excludes, for people: `commit 3b18… of "weather"`. */
export function targetText(target: ExclusionTarget): string {
  switch (target.case) {
    case 'jobUuid':
      return `job ${target.value}`;
    case 'commit':
      return `commit ${target.value.commit} of ${quote(target.value.repository)}`;
    case 'commitRange': {
      const { repository, introducedBy, fixedBy } = target.value;
      return `the commits of ${quote(repository)} from ${introducedBy} ${fixedBy === '' ? 'on' : `until ${fixedBy}`}`;
    }
    case 'dockerImageLocator':
      return `docker image ${quote(target.value)}`;
    case 'output':
      return `output ${quote(target.value)}`;
    case 'worker': {
      const { principal, workerName, since, until } = target.value;
      const named = workerName === '' ? 'all workers' : `worker ${quote(workerName)}`;
      const time = (word: string, at: Timestamp | undefined) =>
        at ? ` ${word} ${new Date(timestampMs(at)).toISOString()}` : '';
      return `${named} of ${quote(principal)}${time('from', since)}${time('until', until)}`;
    }
    default:
      return 'nothing';
  }
}

/**
 * Why an exclusion rules a candidate out, for people.
 * @param taken - for a candidate that is hit through another job: the output that it took, and the uuid of that job, empty if
 * no job gave it
 */
export function exclusionText(
  exclusion: Exclusion,
  taken?: { readonly output: string; readonly uuid: string },
): string {
  const order = `exclusion ${exclusion.id} of ${targetText(exclusion.target)}`;
  const lost = exclusion.outputLost ? 'the output is lost: ' : '';
  const why = `${lost}${quote(exclusion.reason)}`;
  if (!taken) return `it is under ${order}: ${why}`;
  const of = taken.uuid === '' ? '' : ` of job ${taken.uuid}`;
  return `it took the output ${quote(taken.output)}${of}, which is under ${order}: ${why}`;
}
