import { type InputFacts, isSameInputs } from '../inputs/lacked-inputs.js';
import { isSameOutput, type Output } from './addresses.js';
import { isReplacement, type Losing } from './losses.js';

/** What is compared of a job. */
type Comparable = Output & Losing & Pick<InputFacts, 'inputs'>;

/** Two jobs of the same work that gave different outputs. */
export type Difference<C> = { readonly one: C; readonly other: C };

/** What the outputs of accepted jobs say. */
export type Compared<C> = {
  /** Complete jobs that may be the answer, oldest first, if there is no difference. */
  readonly contenders: readonly C[];
  readonly difference?: Difference<C>;
  /** By the complete jobs that others are preferred to for good: one of those. */
  readonly replacements: ReadonlyMap<C, C>;
};

/**
 * Compares the outputs of the jobs that are left, and of those that only the loss of their output rules out. A job that was requested while
 * the output of another was lost stands in its place from then on, whatever becomes of that: the two are no difference. All others
 * that gave different outputs are, also if one of them is lost by now; but not if one was given inputs that the other was not, which is reason enough.
 * @param left - accepted jobs, oldest first
 * @param lost - those that would be, were it not for a loss
 * @param isApart - whether two that gave different outputs are no difference all the same; absent: never
 */
export function compareOutputs<C extends Comparable>(
  left: readonly C[],
  lost: readonly C[],
  isComplete: (job: C) => boolean,
  isApart?: (one: C, other: C) => boolean,
): Compared<C> {
  const complete = left.filter(isComplete);
  const replacements = new Map<C, C>();
  if (lost.length === 0 && !complete.some(({ losses }) => losses)) {
    const difference = differenceToFirst(complete);
    return { contenders: complete, replacements, ...(difference && { difference }) };
  }
  for (const job of complete) {
    if (!job.losses) continue;
    const replacement =
      left.find((other) => isReplacement(other, job)) ??
      lost.find((other) => isReplacement(other, job) && !isSameOutput(other, job));
    if (replacement) replacements.set(job, replacement);
  }
  const contenders = complete.filter((job) => !replacements.has(job));
  const difference = firstDifference(contenders, [...complete, ...lost], isApart);
  return { contenders, replacements, ...(difference && { difference }) };
}

/** The first job that gave another output than the first of those with the same inputs. */
function differenceToFirst<C extends Comparable>(complete: readonly C[]): Difference<C> | undefined {
  const firsts: C[] = [];
  for (const job of complete) {
    const one = firsts.find((first) => isSameInputs(first, job));
    if (!one) firsts.push(job);
    else if (!isSameOutput(job, one)) return { one, other: job };
  }
  return undefined;
}

function firstDifference<C extends Comparable>(
  contenders: readonly C[],
  all: readonly C[],
  isApart?: (one: C, other: C) => boolean,
): Difference<C> | undefined {
  for (const one of contenders) {
    const other = all.find(
      (job) =>
        !isSameOutput(job, one) &&
        isSameInputs(job, one) &&
        !isReplacement(job, one) &&
        !isReplacement(one, job) &&
        !isApart?.(job, one),
    );
    if (other) return { one, other };
  }
  return undefined;
}
