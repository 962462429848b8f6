import { create } from '@bufbuild/protobuf';
import { type Minima, MinimaSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { RuntimeConstraints } from '../../../gen/memoir/jobs/v1/job_pb.js';

/** What runtime constraints ask of the place where a job runs; undefined if nothing. */
export function minimaOf(constraints: RuntimeConstraints | undefined): Minima | undefined {
  const { minCoresPerNode: cores = 0, minRamMbPerNode: ram = 0, minScratchMbPerNode: scratch = 0 } = constraints ?? {};
  if (cores === 0 && ram === 0 && scratch === 0) return undefined;
  return create(MinimaSchema, { cores, ramMb: BigInt(ram), scratchMb: BigInt(scratch) });
}

/** Whether the first asks for no more than the second. */
export function isWithin(some: Minima | undefined, others: Minima | undefined): boolean {
  if (!some) return true;
  const { cores = 0, ramMb = 0n, scratchMb = 0n } = others ?? {};
  return some.cores <= cores && some.ramMb <= ramMb && some.scratchMb <= scratchMb;
}

/** The largest of all in each; undefined if none asks for anything. */
export function largest(all: readonly (Minima | undefined)[]): Minima | undefined {
  let most: Minima | undefined;
  for (const one of all) {
    if (!one || isWithin(one, most)) continue;
    const { cores = 0, ramMb = 0n, scratchMb = 0n } = most ?? {};
    most = create(MinimaSchema, {
      cores: Math.max(cores, one.cores),
      ramMb: larger(ramMb, one.ramMb),
      scratchMb: larger(scratchMb, one.scratchMb),
    });
  }
  return most;
}

function larger(one: bigint, other: bigint): bigint {
  if (one < other) return other;
  return one;
}
