import type { Model, Operation } from './checker.js';

/** What is asked of one computation. */
export type Asked =
  /** find_or_create */
  | { readonly kind: 'create' }
  | { readonly kind: 'claim'; readonly uuid: string; readonly token: string }
  | { readonly kind: 'complete'; readonly uuid: string; readonly token: string }
  | { readonly kind: 'cancel'; readonly uuid: string; readonly by: string };

/** What it was answered with. A refusal is one for the job's state; whatever leaves open what came of it is no answer. */
export type Answered =
  | { readonly kind: 'job'; readonly uuid: string; readonly reused: boolean }
  | { readonly kind: 'done' }
  | { readonly kind: 'refused' };

/** A run of the computation. Its uuid is not known before somebody was told it. */
type Run = {
  readonly uuid?: string;
  readonly state: 'queued' | 'running' | 'complete' | 'cancelled';
  readonly by?: string;
};

/** The runs, by their numbers. Only the last can be anything but cancelled, since only then there is another. */
export type Computation = readonly Run[];

/** Operations on one computation. */
export type ComputationHistory = readonly Operation<Asked, Answered>[];

/**
 * One computation as a single copy would have it: at most one job that is not cancelled, which a request is answered with; a job that is
 * given to one claim; that ends once, and whoever ended it is answered as the first time.
 */
export const computation: Model<Computation, Asked, Answered> = {
  initial: [],
  step(state, input, output) {
    if (input.kind === 'create') return create(state, output);
    const at = state.findIndex(({ uuid }) => uuid === input.uuid);
    const run = state[at];
    const next = run && changed(run, input);
    if (output === undefined) return next ? [state.with(at, next)] : [];
    if (output.kind === 'done') return next ? [state.with(at, next)] : [];
    return output.kind === 'refused' && !next ? [state] : [];
  },
  key: (state) => JSON.stringify(state),
};

function create(state: Computation, output: Answered | undefined): Computation[] {
  const last = state.at(-1);
  const reusable = last !== undefined && last.state !== 'cancelled';
  if (output === undefined) return reusable ? [state] : [[...state, { state: 'queued' }]];
  if (output.kind !== 'job' || output.reused !== reusable) return [];
  const { uuid } = output;
  if (!reusable) return state.some((run) => run.uuid === uuid) ? [] : [[...state, { uuid, state: 'queued' }]];
  if (last.uuid === uuid) return [state];
  const known = last.uuid !== undefined || state.some((run) => run.uuid === uuid);
  return known ? [] : [state.with(-1, { ...last, uuid })];
}

/** The run after an operation that is done, or was done by the same before; undefined if it is refused. */
function changed(run: Run, input: Exclude<Asked, { kind: 'create' }>): Run | undefined {
  switch (input.kind) {
    case 'claim':
      return run.state === 'queued' ? { ...run, state: 'running', by: input.token } : undefined;
    case 'complete':
      if (run.by !== input.token) return undefined;
      return run.state === 'running' || run.state === 'complete' ? { ...run, state: 'complete' } : undefined;
    case 'cancel':
      if (run.state === 'cancelled') return run.by === input.by ? run : undefined;
      return run.state === 'complete' ? undefined : { ...run, state: 'cancelled', by: input.by };
  }
}
