import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../../domain/errors.js';
import { RunFailure } from '../run-failure.js';

/** Label that jobs require of a worker to be given the network of that name. */
export const networkLabel = 'network';

/** The network of the machine itself, as image runtimes name it too. */
export const machineNetwork = 'host';

/** The network that a job is given: the worker's, if it asks for that; undefined for none. */
export function networkOf({ requiredLabels }: Job, network: string | undefined): string | undefined {
  return network !== undefined && requiredLabels[networkLabel] === network ? network : undefined;
}

/**
 * Whether a job in a sandbox is given the network of the machine.
 * @throws RunFailure NO_NETWORK if it asks for another, which only images can have
 */
export function hasMachineNetwork(job: Job, network: string | undefined): boolean {
  const asked = networkOf(job, network);
  if (asked === undefined || asked === machineNetwork) return asked !== undefined;
  const why = `the job asks for the network ${quote(asked)}, which this worker has for images alone`;
  throw new RunFailure('NO_NETWORK', why, Fault.PLACE);
}
