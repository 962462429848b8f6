import type { RuntimeConstraints } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Bounds } from '../../domain/access.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { Caller } from '../caller.js';

/** What is asked for in a job of a repository. */
export type Asked = {
  readonly repository: string;
  readonly priority?: number | undefined;
  readonly runtimeConstraints?: RuntimeConstraints | undefined;
};

/**
 * Checks what a caller asks for against what its grants let it ask for at most.
 * @throws MemoirError PERMISSION_DENIED OVER_BOUND naming the first field that is over its bound, the value and the bound
 */
export function checkBounds({ principal, access }: Caller, { repository, priority, runtimeConstraints }: Asked): void {
  const bounds = access.bounds(repository);
  const check = (field: string, value: number | undefined, bound: number | undefined) => {
    if (value === undefined || bound === undefined || value <= bound) return;
    const message = `${field} ${value} is more than ${bound}, the most that ${quote(principal)} may ask for in jobs of repository ${quote(repository)}`;
    const metadata = { value: String(value), bound: String(bound) };
    throw new MemoirError('PERMISSION_DENIED', 'OVER_BOUND', message, { field, metadata });
  };
  check('priority', priority, bounds.priority);
  if (!runtimeConstraints) return;
  for (const [field, property, bound] of minima) check(field, runtimeConstraints[property], bounds[bound]);
}

const minima = [
  ['runtime_constraints.min_cores_per_node', 'minCoresPerNode', 'cores'],
  ['runtime_constraints.min_ram_mb_per_node', 'minRamMbPerNode', 'ramMb'],
  ['runtime_constraints.min_scratch_mb_per_node', 'minScratchMbPerNode', 'scratchMb'],
] as const satisfies readonly (readonly [string, keyof RuntimeConstraints, keyof Bounds])[];
