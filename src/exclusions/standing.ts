import type { Exclusion } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import {
  type ExcludableJob,
  type Excluding,
  excludedOutputs,
  hitsItself,
  type InRange,
  isSameTarget,
} from '../domain/exclusions.js';
import { addressesOf } from '../domain/outputs/addresses.js';
import type { Held } from '../jobs/ports/exclusions.js';

/** The exclusions that stand, in memory, found by what they exclude. */
export type Standing = {
  size(): number;
  add(exclusion: Exclusion): void;
  remove(exclusion: Pick<Exclusion, 'id'> & Excluding): void;
  /** The commit ranges of a repository that are excluded. */
  ranges(repository: string): Iterable<Held>;
  /** Those that a job is under by what it is itself. What `inRange` must know of ranges is the caller's affair. */
  hitting(job: ExcludableJob, inRange: InRange): Generator<Held>;
  /** Those of an output, by any of its addresses. */
  ofOutput(address: string): readonly Held[];
  /** Those with the same target. */
  alike(exclusion: Pick<Exclusion, 'target'>): Held[];
};

/** Where an exclusion is kept: one of an output under each of its addresses. */
function keysOf(exclusion: Excluding): readonly string[] {
  return exclusion.target.case === 'output' ? excludedOutputs(exclusion).map(outputKey) : [keyOf(exclusion)];
}

/** Where an exclusion is kept: an exact one under what it excludes, a range under its repository, one of a worker under its principal. */
function keyOf({ target }: Pick<Exclusion, 'target'>): string {
  switch (target.case) {
    case 'commit':
      return commitKey(target.value.repository, target.value.commit);
    case 'commitRange':
      return rangeKey(target.value.repository);
    case 'worker':
      return workerKey(target.value.principal);
    default:
      return `${target.case} ${target.value ?? ''}`;
  }
}

const outputKey = (address: string) => `output ${address}`;
const commitKey = (repository: string, commit: string) => `commit ${commit} ${repository}`;
const rangeKey = (repository: string) => `commitRange ${repository}`;
const workerKey = (principal: string) => `worker ${principal}`;

/** Starts with none. */
export function standingExclusions(): Standing {
  const held = new Map<string, Held[]>();
  let size = 0;
  const none: readonly Held[] = [];

  return {
    size: () => size,
    add({ reason: _, ...exclusion }) {
      if (held.get(keyOf(exclusion))?.some(({ id }) => id === exclusion.id)) return;
      for (const key of keysOf(exclusion)) {
        const those = held.get(key);
        if (those) those.push(exclusion);
        else held.set(key, [exclusion]);
      }
      size++;
    },
    remove(exclusion) {
      if (!held.get(keyOf(exclusion))?.some(({ id }) => id === exclusion.id)) return;
      size--;
      for (const key of keysOf(exclusion)) {
        const left = (held.get(key) ?? none).filter(({ id }) => id !== exclusion.id);
        if (left.length > 0) held.set(key, left);
        else held.delete(key);
      }
    },
    ranges: (repository) => held.get(rangeKey(repository)) ?? none,
    *hitting(job, inRange) {
      const { uuid, repository, scriptVersion, dockerImageLocator, ran } = job;
      yield* held.get(`jobUuid ${uuid}`) ?? none;
      yield* held.get(commitKey(repository, scriptVersion)) ?? none;
      for (const range of held.get(rangeKey(repository)) ?? none) if (hitsItself(range, job, inRange)) yield range;
      if (dockerImageLocator !== '') yield* held.get(`dockerImageLocator ${dockerImageLocator}`) ?? none;
      yield* new Set(addressesOf(job).flatMap((address) => held.get(outputKey(address)) ?? none));
      if (!ran) return;
      for (const worker of held.get(workerKey(ran.worker)) ?? none) if (hitsItself(worker, job, inRange)) yield worker;
    },
    ofOutput: (address) => held.get(outputKey(address)) ?? none,
    alike: (exclusion) => (held.get(keyOf(exclusion)) ?? none).filter((other) => isSameTarget(other, exclusion)),
  };
}
