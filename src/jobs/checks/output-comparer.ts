import { LRUCache } from 'lru-cache';
import { type Check, CheckOutcome } from '../../../gen/memoir/jobs/v1/check_pb.js';
import { ContentKind, type Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { nameOf } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';
import { isFinished, stateName } from '../../domain/job.js';
import { isSameOutput } from '../../domain/outputs/addresses.js';
import { hashOfAddress } from '../../domain/outputs/digest.js';
import { type ComparedContent, compareOutputs, type Differences } from './compare-outputs.js';

/** Most bytes of files that are read for one comparison. */
const mostBytes = 256 * 1024 ** 2;

/** Comparisons that are remembered. */
const remembered = 200;

/** How the outputs of two jobs compare. */
export type Outcome = Pick<Check, 'outcome'> & Partial<Pick<Check, 'differences' | 'incomplete' | 'message'>>;

/** What of content is compared. */
type Compared = Pick<Digest, 'hash' | 'sizeBytes' | 'kind'>;

/** Compares what jobs gave and were given, in what servers keep. Whether somebody may know of it is for who asks. */
export type OutputComparer = {
  /** The outputs of two jobs, with at most so many differences. @throws MemoirError as the store does; what the signal was aborted with */
  outputs(a: Job, b: Job, most: number, signal: AbortSignal): Promise<Outcome>;
  /** Two contents that are not the same. @throws likewise */
  contents(a: Compared, b: Compared, most: number, signal: AbortSignal): Promise<Differences>;
};

/** Makes it. Of outputs that servers do not keep it is told whether they are the same alone. */
export function outputComparer(
  readModel: { readonly content: Pick<ReadModel['content'], 'ofAddress'> },
  content: Pick<ContentStore, 'get' | 'read'>,
): OutputComparer {
  const known = new LRUCache<string, Differences>({ max: remembered });

  /** Where servers keep an output: as the job says, or taken in since. */
  function held({ output, outputDigest }: Job): Compared | undefined {
    if (outputDigest) return { ...outputDigest, kind: ContentKind.TREE };
    const row = hashOfAddress(output) === undefined ? undefined : readModel.content.ofAddress(output);
    if (row?.kind !== ContentKind.TREE) return undefined;
    return { hash: row.hash, sizeBytes: BigInt(row.size), kind: row.kind };
  }

  async function contents(a: Compared, b: Compared, most: number, signal: AbortSignal): Promise<Differences> {
    const key = `${a.kind} ${a.hash} ${b.kind} ${b.hash} ${most}`;
    let found = known.get(key);
    if (!found) {
      found = await compareOutputs(content, comparedContent(a), comparedContent(b), { most, bytes: mostBytes, signal });
      // What was not there may be again.
      if (!found.incomplete || found.differences.length >= most) known.set(key, found);
    }
    return found;
  }

  async function different(a: Job, b: Job, most: number, signal: AbortSignal): Promise<Outcome> {
    const outcome = CheckOutcome.DIFFERENT;
    const [ours, theirs] = [held(a), held(b)];
    if (!ours || !theirs) {
      const { uuid } = ours ? b : a;
      const message = `the output of job ${uuid} is not held here, so that only the addresses tell`;
      return { outcome, incomplete: true, message };
    }
    const { differences, incomplete } = await contents(ours, theirs, most, signal);
    return { outcome, differences: [...differences], incomplete };
  }

  return {
    contents,
    async outputs(a, b, most, signal) {
      if (!isFinished(a.state) || !isFinished(b.state)) return { outcome: CheckOutcome.PENDING };
      const [without] = [a, b].filter(({ state, output }) => state !== JobState.COMPLETE || output === '');
      if (without) return { outcome: CheckOutcome.INCONCLUSIVE, message: whyNone(without) };
      return isSameOutput(a, b) ? { outcome: CheckOutcome.SAME } : different(a, b, most, signal);
    },
  };
}

function comparedContent({ hash, sizeBytes, kind }: Compared): ComparedContent {
  const blob = nameOf('digest', hash, sizeBytes);
  if (!blob) throw new Error('a digest names a blob');
  return { blob, isTree: kind === ContentKind.TREE };
}

function whyNone({ uuid, state, failureReason, failureMessage }: Job): string {
  if (state === JobState.COMPLETE) return `job ${uuid} has no output`;
  const why = failureReason === '' ? '' : `: ${failureReason}: ${failureMessage}`;
  return `job ${uuid} is ${stateName(state)}${why}`;
}
