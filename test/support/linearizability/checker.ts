/** One operation of a history: who asked what, when, and what came back. */
export type Operation<Input, Output> = {
  readonly input: Input;
  /** Undefined if nobody knows what came of it: it may have happened at any time since it was asked for, or not at all. */
  readonly output: Output | undefined;
  /** When it was asked for and when it was answered, by a clock that only grows; infinite if it was not answered. */
  readonly from: number;
  readonly to: number;
};

/** What a single copy would do, one operation at a time. */
export type Model<State, Input, Output> = {
  readonly initial: State;
  /**
   * The states that the operation may lead to from `state` if it is answered with `output`; none if it cannot be answered so. Without an
   * output, the states that it may lead to with any.
   */
  step(state: State, input: Input, output: Output | undefined): readonly State[];
  /** A text that is the same for equal states alone. */
  key(state: State): string;
};

/** What was found. */
export type Verdict =
  | { readonly linearizable: true }
  /** `explained` is the largest number of operations that some order explains. */
  | { readonly linearizable: false; readonly explained: number };

/** Most states that are looked at. */
const longestSearch = 2_000_000;

/**
 * Whether there is an order of the operations, each between its question and its answer, in which a single copy would have answered as it was
 * answered (M. Herlihy and J. Wing, "Linearizability: A Correctness Condition for Concurrent Objects", 1990). The search is that of J. Wing
 * and C. Gong, "Testing and Verifying Concurrent Objects", 1993: whatever was asked for before the first answer of those that are left may
 * come next. It remembers which operations led to which state, so that no such pair is gone on from twice (G. Lowe, "Testing for
 * Linearizability", 2017).
 * @throws Error if the search becomes too long
 */
export function checkHistory<State, Input, Output>(
  history: readonly Operation<Input, Output>[],
  model: Model<State, Input, Output>,
): Verdict {
  const operations = [...history].sort((a, b) => a.from - b.from);
  const answered = operations.filter(({ output }) => output !== undefined).length;
  const seen = new Set<string>();
  let explained = 0;

  function search(done: bigint, count: number, state: State): boolean {
    explained = Math.max(explained, count);
    if (count === answered) return true;
    const key = `${done.toString(36)} ${model.key(state)}`;
    if (seen.has(key)) return false;
    if (seen.size >= longestSearch) throw new Error(`no verdict after ${longestSearch} states`);
    seen.add(key);
    const isLeft = (_: unknown, i: number) => !(done & (1n << BigInt(i)));
    const firstAnswer = Math.min(
      ...operations.filter(isLeft).map(({ output, to }) => (output === undefined ? Number.POSITIVE_INFINITY : to)),
    );
    return operations.some((operation, i) => {
      if (!isLeft(operation, i) || operation.from > firstAnswer) return false;
      const known = operation.output === undefined ? 0 : 1;
      return model
        .step(state, operation.input, operation.output)
        .some((next) => search(done | (1n << BigInt(i)), count + known, next));
    });
  }

  return search(0n, 0, model.initial) ? { linearizable: true } : { linearizable: false, explained };
}
