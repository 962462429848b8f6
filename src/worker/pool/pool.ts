import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Offer, OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { requirementsOf } from '../../domain/placement/requirements.js';

/** All that a worker has, of which its jobs take what they ask for. */
export type Pool = {
  /** All of it. */
  readonly total: Offer;
  /** What no job takes now. */
  free(): Offer;
  /** A job takes what it asks for, until what is returned is called. */
  take(job: Job): () => void;
  /** Aborts when what is free has become more. A new one for every time. */
  grown(): AbortSignal;
};

/** A pool of what is given. Jobs that ask for nothing take nothing. */
export function openPool(has: MessageInitShape<typeof OfferSchema>): Pool {
  // This worker does, as of every version that knows them.
  const total = create(OfferSchema, { ...has, codePaths: true });
  const taken = { cores: 0, ramMb: 0n, scratchMb: 0n };
  let growing = new AbortController();
  const left = (all: bigint, part: bigint) => (all > part ? all - part : 0n);
  return {
    total,
    free: () =>
      create(OfferSchema, {
        ...total,
        cores: Math.max(0, total.cores - taken.cores),
        ramMb: left(total.ramMb, taken.ramMb),
        scratchMb: left(total.scratchMb, taken.scratchMb),
      }),
    take(job) {
      const { cores, ramMb, scratchMb } = requirementsOf(job);
      const change = (sign: 1 | -1) => {
        taken.cores += sign * cores;
        taken.ramMb += BigInt(sign * ramMb);
        taken.scratchMb += BigInt(sign * scratchMb);
      };
      change(1);
      let held = true;
      return () => {
        if (!held) return;
        held = false;
        change(-1);
        if (cores === 0 && ramMb === 0 && scratchMb === 0) return;
        growing.abort();
        growing = new AbortController();
      };
    },
    grown: () => growing.signal,
  };
}
