import { LRUCache } from 'lru-cache';
import type { ReadModel, Touched } from '../../../../projections/read-model/read-model.js';
import type { CandidateFacts } from '../../../domain/reuse.js';
import { contentStream, jobStream, uuidOfJobStream } from '../../../domain/streams.js';
import type { Position } from '../../../eventstore/port.js';

/** How many candidates are kept. */
const kept = 100_000;

/** The jobs of a computation. */
export type Runs = {
  /** Oldest first. */
  readonly candidates: readonly CandidateFacts[];
  /** Number of the last of them, or of an earlier one; 0 if there is none. */
  readonly lastRun: number;
  /** Both are those of the log up to here. */
  readonly position: Position;
};

/** What keeps candidates of a store that others write too. */
export type FollowedModel = Pick<ReadModel, 'candidates' | 'position' | 'onTouched'>;

/**
 * The jobs of a computation as the reuse index has them, kept in memory until the read model tells of an event that may change one of them, or adds one,
 * whoever recorded it. So a computation that is asked for again and again is answered without a read of the index, and by decisions that are
 * remembered; answers of reuse, which are most of what is recorded then, change nothing. What is kept is as of the position that the read
 * model is at.
 */
export function followedCandidates(readModel: FollowedModel): (computationDigest: string) => Runs {
  /** By job, of which computation it is a candidate that is kept. */
  const computationOf = new Map<string, string>();
  const cache = new LRUCache<string, Runs>({
    maxSize: kept,
    sizeCalculation: ({ candidates }) => candidates.length + 1,
    dispose: ({ candidates }) => {
      for (const { uuid } of candidates) computationOf.delete(uuid);
    },
  });

  function forget({ any, streams, computations }: Touched): void {
    if (any || streams.some(concernsAny)) {
      cache.clear();
      return;
    }
    for (const computation of computations) cache.delete(computation);
    for (const stream of streams) {
      const computation = stream.startsWith(ofJobs) ? computationOf.get(uuidOfJobStream(stream)) : undefined;
      if (computation !== undefined) cache.delete(computation);
    }
  }
  readModel.onTouched(forget);

  return (computation) => {
    const known = cache.get(computation);
    if (known) return { ...known, position: Math.max(known.position, readModel.position()) };
    const runs = readModel.candidates.runs(computation);
    // What the file has already and is told of later is forgotten once more than it must be.
    cache.set(computation, runs);
    if (cache.has(computation)) for (const { uuid } of runs.candidates) computationOf.set(uuid, computation);
    return runs;
  };
}

const ofJobs = jobStream('');
const ofContent = contentStream('');

/** How streams begin that tell of the log itself. */
const ofLog = 'log-';

/** Whether an event in a stream may change candidates of any computation: content that is lost or found, and run numbers that are taken. */
const concernsAny = (stream: string): boolean => stream.startsWith(ofContent) || stream.startsWith(ofLog);
