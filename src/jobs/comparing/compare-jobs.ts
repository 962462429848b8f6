import type { OutputDifference } from '../../../gen/memoir/jobs/v1/check_pb.js';
import type { Input } from '../../../gen/memoir/jobs/v1/input_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { codePathsWithin } from '../../domain/code/code-paths.js';
import { type FieldDifference, fieldDifferences } from '../../domain/comparison/compared-fields.js';
import { MemoirError } from '../../domain/errors.js';
import { compareText } from '../../domain/filters/compare-text.js';
import type { Changes } from '../../git/code/changed-paths.js';
import type { Caller } from '../caller.js';
import type { Outcome, OutputComparer } from '../checks/output-comparer.js';
import type { JobsContext } from '../context.js';
import { knowsContent } from '../deciding/inputs.js';
import { pace } from '../pace.js';
import { permitted } from '../reading/permit.js';
import { redactJob } from '../reading/redact.js';

/** Most inputs whose files are compared. */
const mostOpened = 20;

/** In what the code of two jobs differs; a message where that cannot be told. */
export type ComparedCode = Changes & { readonly message: string };

/** A parameter that names other content in one job than in the other. */
export type ComparedInput = {
  readonly pointer: string;
  readonly a: Input | undefined;
  readonly b: Input | undefined;
  readonly differences: readonly OutputDifference[];
  readonly incomplete: boolean;
  /** Why the files were not compared; empty if they were. */
  readonly message: string;
};

/** In what two jobs differ, as their reader is told of them. */
export type Comparison = {
  readonly a: Job;
  readonly b: Job;
  readonly fields: Told<FieldDifference>;
  readonly code: ComparedCode;
  readonly inputs: Told<ComparedInput>;
  readonly output: Outcome;
};

/** Some of what there is. */
export type Told<T> = { readonly told: readonly T[]; readonly truncated: boolean };

/** Which jobs, and how much of each kind of difference is told at most. */
export type Comparing = { readonly a: string; readonly b: string; readonly most: number };

/**
 * Compares two jobs that the caller may read, as far as it is told of them.
 * @throws MemoirError NOT_FOUND naming the field of a job that the caller may not know of; UNAVAILABLE; what the signal was aborted with
 */
export type CompareJobs = (caller: Caller, comparing: Comparing, signal: AbortSignal) => Promise<Comparison>;

/** Makes the use case CompareJobs. */
export function jobComparer(
  { streams, readModel, repositories }: Pick<JobsContext, 'streams' | 'readModel' | 'repositories'>,
  comparer: OutputComparer,
): CompareJobs {
  async function read(caller: Caller, uuid: string, field: 'a' | 'b'): Promise<Job> {
    const { job } = permitted(caller, uuid, await streams.loadFor(caller, uuid), 'request', field);
    return redactJob({ access: caller.access, facts: readModel }, job);
  }

  async function codeOf(
    { access }: Caller,
    [a, b]: readonly [Job, Job],
    most: number,
    signal: AbortSignal,
  ): Promise<ComparedCode> {
    const untold = (message: string) => ({ changed: [], truncated: false, message });
    if (a.repository !== b.repository) return untold('the jobs are of two repositories');
    const { repository } = a;
    const [paths, others] = [a, b].map(({ codePaths }) => (codePaths.length === 0 ? ['.'] : codePaths));
    const query = {
      one: a.scriptVersion,
      other: b.scriptVersion,
      paths: codePathsWithin([...(paths ?? []), ...(others ?? [])]),
      most,
    };
    if (query.one === query.other) return untold('');
    // Of a repository that the caller does not know it may have its own jobs alone.
    if (!access.knows(repository)) return untold('you may not read the repository');
    try {
      return { ...(await repositories.changes(repository, query, signal)), message: '' };
    } catch (error) {
      if (!(error instanceof MemoirError)) throw error;
      return untold(error.message);
    }
  }

  async function inputsOf(
    { access }: Caller,
    jobs: readonly [Job, Job],
    most: number,
    signal: AbortSignal,
  ): Promise<Told<ComparedInput>> {
    const [its, others] = jobs.map(({ inputs }) => new Map(inputs.map((input) => [input.pointer, input])));
    const pointers = [...new Set([...(its?.keys() ?? []), ...(others?.keys() ?? [])])].sort(compareText);
    const told: ComparedInput[] = [];
    for (const pointer of pointers) {
      const [a, b] = [its?.get(pointer), others?.get(pointer)];
      if (a && b && a.digest?.hash === b.digest?.hash && a.executable === b.executable) continue;
      if (told.length >= most) return { told, truncated: true };
      const untold = (message: string) => ({ pointer, a, b, differences: [], incomplete: true, message });
      if (!a?.digest || !b?.digest) told.push({ ...untold(''), incomplete: false });
      else if (told.length >= mostOpened) {
        told.push(untold(`the files of ${mostOpened} inputs are compared at once, and no more`));
      } else if (![a, b].every(({ content }) => content && knowsContent(readModel, access, content.hash))) {
        told.push(untold('you may not read both, so that only their digests tell'));
      } else {
        const found = await comparer.contents(a.digest, b.digest, most, signal);
        told.push({ pointer, a, b, ...found, message: '' });
      }
    }
    return { told, truncated: false };
  }

  return async (caller, { a, b, most }, signal) => {
    const jobs = [await read(caller, a, 'a'), await read(caller, b, 'b')] as const;
    const fields = await some(fieldDifferences(...jobs), most);
    return {
      a: jobs[0],
      b: jobs[1],
      fields,
      code: await codeOf(caller, jobs, most, signal),
      inputs: await inputsOf(caller, jobs, most, signal),
      output: await comparer.outputs(...jobs, most, signal),
    };
  };
}

async function some<T>(all: Iterable<T | undefined>, most: number): Promise<Told<T>> {
  const breathe = pace();
  const told: T[] = [];
  for (const one of all) {
    await breathe();
    if (one === undefined) continue;
    if (told.length >= most) return { told, truncated: true };
    told.push(one);
  }
  return { told, truncated: false };
}
