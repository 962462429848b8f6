import type { JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import type { DecisionBasis } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { quote } from '../domain/errors.js';
import { isFinished, stateName } from '../domain/job.js';
import { labelsText } from '../domain/reuse.js';
import { uuidOfAnyJobStream } from '../domain/streams.js';
import type { PastOfLog } from './past-of-log.js';
import type { RecordedDecision } from './recorded-decision.js';

/**
 * What in its own event, or in the job just before it, speaks against a decision that comes out the same: it is recorded with another job, a
 * new job is not what was decided on, or a job was joined that had finished. Undefined if nothing does.
 */
export function contradicted(past: Pick<PastOfLog, 'at'>, decided: RecordedDecision): string | undefined {
  const { recorded, event, decision, basis } = decided;
  const stream = uuidOfAnyJobStream(recorded.stream);
  for (const uuid of [stream, event.uuid]) {
    if (uuid !== decision.uuid) return `it is for job ${decision.uuid}, but recorded as one for ${uuid ?? 'none'}`;
  }
  if (event.$typeName === 'memoir.events.v1.JobRequested') return basis && requestedOtherwise(event, basis);
  if (event.$typeName !== 'memoir.events.v1.JobJoined') return undefined;
  const row = past.at(recorded.position - 1).jobs.get(event.uuid);
  if (!row) return `job ${event.uuid}, which it joins, was not there at position ${recorded.position - 1}`;
  return isFinished(row.state) ? `it joins job ${event.uuid}, which was ${stateName(row.state)} already` : undefined;
}

/** In what a new job is not what was decided on. */
function requestedOtherwise(event: JobRequested, basis: DecisionBasis): string | undefined {
  const told = (name: string, its: string, decidedOn: string) =>
    its === decidedOn ? undefined : `its job has ${name} ${quote(its)}, but it was decided on ${quote(decidedOn)}`;
  const inputs = new Set(event.inputs.map(({ pointer }) => pointer));
  const without = basis.inputs.find(({ pointer }) => !inputs.has(pointer));
  return (
    told('docker_image_locator', event.dockerImageLocator, basis.dockerImageLocator) ??
    told('arvados_sdk_version', event.arvadosSdkVersion, basis.arvadosSdkVersion) ??
    told('required_labels', labelsText(event.requiredLabels), labelsText(basis.requiredLabels)) ??
    told('runtime_constraints.platform', event.runtimeConstraints?.platform ?? '', basis.platform) ??
    told('runtime_constraints.sandbox', event.runtimeConstraints?.sandbox ?? '', basis.sandbox) ??
    (without && `its job is without the input at ${quote(without.pointer)}, for want of which others were ruled out`)
  );
}
