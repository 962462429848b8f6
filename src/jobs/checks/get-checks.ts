import { create } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import { type Check, CheckOutcome, CheckSchema } from '../../../gen/memoir/jobs/v1/check_pb.js';
import { ContentKind, type Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { nameOf } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';
import { invalid, quote } from '../../domain/errors.js';
import { isFinished, stateName } from '../../domain/job.js';
import { isSameOutput } from '../../domain/outputs/addresses.js';
import { hashOfAddress } from '../../domain/outputs/digest.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { mayRead } from '../reading/permit.js';
import { compareOutputs, type Differences } from './compare-outputs.js';

/** Most second runs that are told of at once. */
export const mostTold = 100;

/** Most bytes of files that are read to compare two outputs. */
const mostBytes = 256 * 1024 ** 2;

/** Comparisons that are remembered. */
const remembered = 200;

/** Which second runs of a job to compare. */
export type ChecksWanted = {
  /** Uuids; none for the newest. */
  readonly checks: readonly string[];
  /** Most differences of each. */
  readonly most: number;
};

/**
 * What came of the second runs of a job that the caller may read, the newest first.
 * @throws MemoirError NOT_FOUND if the caller may not know of the job; INVALID_ARGUMENT naming a uuid that is none of its second runs
 */
export type GetChecks = (
  caller: Caller,
  uuid: string,
  wanted: ChecksWanted,
  signal: AbortSignal,
) => Promise<readonly Check[]>;

/** What came of a second run. */
type Outcome = Pick<Check, 'outcome'> & Partial<Pick<Check, 'differences' | 'incomplete' | 'message'>>;

/** Makes it. Outputs are compared in what servers keep; of others it is told whether they are the same alone. */
export function checksReader(
  { streams, readModel }: Pick<JobsContext, 'streams' | 'readModel'>,
  content: Pick<ContentStore, 'get' | 'read'>,
): GetChecks {
  const known = new LRUCache<string, Differences>({ max: remembered });

  /** Where servers keep an output: as the job says, or taken in since. */
  function held({ output, outputDigest }: Job): Pick<Digest, 'hash' | 'sizeBytes'> | undefined {
    if (outputDigest) return outputDigest;
    const row = hashOfAddress(output) === undefined ? undefined : readModel.content.ofAddress(output);
    if (row?.kind !== ContentKind.TREE) return undefined;
    return { hash: row.hash, sizeBytes: BigInt(row.size) };
  }

  async function compared(before: Job, again: Job, most: number, signal: AbortSignal): Promise<Outcome> {
    const outcome = CheckOutcome.DIFFERENT;
    const [ours, theirs] = [held(before), held(again)];
    if (!ours || !theirs) {
      const { uuid } = ours ? again : before;
      return {
        outcome,
        incomplete: true,
        message: `the output of job ${uuid} is not held here, so that only the addresses tell`,
      };
    }
    const key = `${ours.hash} ${theirs.hash} ${most}`;
    let found = known.get(key);
    if (!found) {
      const [one, other] = [ours, theirs].map(({ hash, sizeBytes }) => nameOf('digest', hash, sizeBytes));
      if (!one || !other) throw new Error('two outputs have two names');
      found = await compareOutputs(content, one, other, { most, bytes: mostBytes, signal });
      // What was not there may be again.
      if (!found.incomplete || found.differences.length >= most) known.set(key, found);
    }
    return { outcome, differences: [...found.differences], incomplete: found.incomplete };
  }

  async function outcomeOf(before: Job, again: Job, most: number, signal: AbortSignal): Promise<Outcome> {
    if (!isFinished(again.state)) return { outcome: CheckOutcome.PENDING };
    const inconclusive = (message: string) => ({ outcome: CheckOutcome.INCONCLUSIVE, message });
    if (again.state !== JobState.COMPLETE) {
      const why = again.failureReason === '' ? '' : `: ${again.failureReason}: ${again.failureMessage}`;
      return inconclusive(`it is ${stateName(again.state)}${why}`);
    }
    if (before.output === '') return inconclusive('the job has no output');
    if (again.output === '') return inconclusive('it has no output');
    if (isSameOutput(before, again)) return { outcome: CheckOutcome.SAME };
    return compared(before, again, most, signal);
  }

  return async (caller, uuid, { checks, most }, signal) => {
    const { job } = await streams.read(caller, uuid);
    const told: Check[] = [];
    for (const one of checks.length > 0 ? checks : readModel.checks.of(job.uuid, mostTold)) {
      const record = await streams.loadFor(caller, one);
      const isCheck =
        record && !record.deleted && record.job.checkOf === job.uuid && mayRead(caller.access, record.job);
      if (!isCheck) {
        if (checks.length === 0) continue;
        throw invalid('checks', 'NO_CHECK', `checks: ${quote(one)} is no second run of job ${job.uuid}`);
      }
      const { job: again } = record;
      const { state, output, createdAt } = again;
      const outcome = await outcomeOf(job, again, most, signal);
      told.push(create(CheckSchema, { uuid: again.uuid, state, output, ...(createdAt && { createdAt }), ...outcome }));
    }
    return told;
  };
}
