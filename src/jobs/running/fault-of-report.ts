import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { FailJobRequest } from '../../../gen/memoir/worker/v1/worker_service_pb.js';
import { invalid } from '../../domain/errors.js';

/** Whose fault it is that workers mean by a reason without saying so. All else is the script's. */
const meant: Readonly<Record<string, Fault>> = {
  PLACE_FAULT: Fault.PLACE,
  WORKER_STOPPED: Fault.WORKER,
  WORKER_FAILED: Fault.WORKER,
};

const faultsOfWorkers: readonly Fault[] = [Fault.SCRIPT, Fault.PLACE, Fault.WORKER];

/**
 * Whose fault it is that an attempt ended, as its worker reports.
 * @throws MemoirError INVALID_ARGUMENT for a fault that no worker can know of, or if a job is given back by another's fault than its own
 */
export function faultOf({ fault, reason, givenBack }: Pick<FailJobRequest, 'fault' | 'reason' | 'givenBack'>): Fault {
  if (fault !== Fault.UNSPECIFIED && !faultsOfWorkers.includes(fault)) {
    throw invalid('fault', 'BAD_FAULT', `fault ${nameOf(fault)} is none of ${faultsOfWorkers.map(nameOf).join(', ')}`);
  }
  if (givenBack && fault !== Fault.UNSPECIFIED && fault !== Fault.WORKER) {
    throw invalid('given_back', 'BAD_FAULT', `given_back is of a worker's own accord, and fault says ${nameOf(fault)}`);
  }
  if (givenBack) return Fault.WORKER;
  return fault === Fault.UNSPECIFIED ? (meant[reason] ?? Fault.SCRIPT) : fault;
}

function nameOf(fault: Fault): string {
  return Fault[fault] === undefined ? String(fault) : `FAULT_${Fault[fault]}`;
}
