import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from './errors.js';

/** The state's name as messages spell it: `Queued`, `Running`, `Complete`, `Failed`, `Cancelled`. */
export function stateName(state: JobState): string {
  const name = JobState[state] ?? String(state);
  return name.charAt(0) + name.slice(1).toLowerCase();
}

/** Whether nothing can leave the state. */
export function isFinished(state: JobState): boolean {
  return state === JobState.COMPLETE || state === JobState.FAILED || state === JobState.CANCELLED;
}

/** The FAILED_PRECONDITION for a command that would bring a job to a state that it cannot reach. */
export function wrongState(job: Job, wanted: JobState): MemoirError {
  const [from, to] = [stateName(job.state), stateName(wanted)];
  return new MemoirError('FAILED_PRECONDITION', 'WRONG_STATE', `job ${job.uuid} is ${from} and cannot become ${to}`, {
    metadata: { uuid: job.uuid, state: from, wanted_state: to },
  });
}
