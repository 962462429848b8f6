import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { requirementsOf } from '../../domain/placement/requirements.js';
import type { Bounds } from '../run/run-host.js';
import type { Pool } from './pool.js';

/** What a job may take of a worker: as much as it asked for, and all that the worker has where it asked for nothing. */
export function boundsOf({ total }: Pick<Pool, 'total'>, processes: number): (job: Job) => Bounds {
  return (job) => {
    const { cores, ramMb, scratchMb } = requirementsOf(job);
    return {
      cores: cores || total.cores,
      ramMb: ramMb || Number(total.ramMb),
      ramAsked: ramMb > 0,
      scratchMb,
      processes,
    };
  };
}
