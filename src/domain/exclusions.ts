import type { CommitRangeTarget, Exclusion } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import { quote } from './errors.js';

/** What an exclusion looks at in a job. */
export type ExcludableJob = {
  readonly uuid: string;
  readonly repository: string;
  readonly scriptVersion: string;
  readonly dockerImageLocator: string;
  /** Empty unless it is complete and has one. */
  readonly output: string;
};

/** What is excluded, as the oneof of a message holds it. */
export type ExclusionTarget = Exclusion['target'];

/** Whether a commit is in a range; undefined if that cannot be told now. */
export type InRange = (range: CommitRangeTarget, commit: string) => boolean | undefined;

/**
 * Whether an exclusion hits a job by what it is itself. A commit of which nobody can tell whether it is in the range counts as hit:
 * an exclusion that silently does not hold would be worse than a run too many.
 */
export function hitsItself({ target }: Pick<Exclusion, 'target'>, job: ExcludableJob, inRange: InRange): boolean {
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
      return job.output === target.value;
    default:
      return false;
  }
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
  return a.case === b.case && a.value === b.value;
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
