import type { RecordedEvent } from '../../../gen/memoir/history/v1/history_service_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { isTooDeep } from '../../domain/json.js';

// Logs of earlier versions hold parameters that clients of other languages refuse to read, and with them the whole answer: a page of a
// list, or every event behind that one in a subscription. They are left out, and the answer says so.

/** The job as all clients can read it. */
export function readableJob(job: Job): Job {
  if (!job.scriptParameters || !isTooDeep(job.scriptParameters)) return job;
  const { scriptParameters: _, ...rest } = job;
  return { ...rest, scriptParametersOmitted: true };
}

/** The event as all clients can read it. */
export function readableEvent(recorded: RecordedEvent): RecordedEvent {
  const { event } = recorded;
  if (event.case !== 'jobRequested') return recorded;
  if (!event.value.scriptParameters || !isTooDeep(event.value.scriptParameters)) return recorded;
  const { scriptParameters: _, ...rest } = event.value;
  return { ...recorded, event: { case: event.case, value: rest }, scriptParametersOmitted: true };
}
