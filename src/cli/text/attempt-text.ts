import { type Duration, durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type Attempt, Fault, type RetryPolicy, type TimeLimits } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Ran } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import { printable, printableLines } from './printable.js';
import { ranInText, ranTookText } from './ran-text.js';
import { span } from './time-text.js';

const faults: Readonly<Record<Fault, string>> = {
  [Fault.UNSPECIFIED]: '',
  [Fault.SCRIPT]: "the script's fault",
  [Fault.PLACE]: 'the fault of the place',
  [Fault.WORKER]: "the worker's fault",
  [Fault.SERVER]: "the server's fault",
};

/** Where an attempt was, for how long, what it ended by and whose fault that was; what its job says itself is not said again. */
export function attemptText(attempt: Attempt, job: Job, nowMs: number): string {
  const { worker, workerName, startedAt, endedAt, reason, message, log, output, ran } = attempt;
  const where = workerName === '' ? printable(worker) : `${printable(worker)} (${printable(workerName)})`;
  const begun = startedAt ? timestampMs(startedAt) : nowMs;
  const ms = (endedAt ? timestampMs(endedAt) : nowMs) - begun;
  const fault = faults[attempt.fault] ?? '';
  const ended = reason === '' ? 'ended well' : `ended by ${printable(reason)}${fault && `, ${fault}`}`;
  const parts = [`at ${where}`, span(Math.max(ms, 0)), endedAt ? ended : 'runs'];
  const said =
    message.trimEnd() === '' || message === job.failureMessage ? '' : `: ${printableLines(message.trimEnd())}`;
  const kept = [
    ...(log && log !== job.log ? [`log ${printable(log)}`] : []),
    ...(output && output !== job.output ? [`output ${printable(output)}`] : []),
    // What its job says of the last one is not said again.
    ...(ran && attempt.number < job.attempts.length ? ranText(ran) : []),
  ];
  return `${parts.join(', ')}${said}${kept.length > 0 ? `; ${kept.join(', ')}` : ''}`;
}

/** What an attempt ran in and what it took, in words. */
function ranText(ran: Ran): string[] {
  const [where, took] = [ranInText(ran), ranTookText(ran)];
  return [...(where ? [`in ${where}`] : []), ...(took ? [`took ${took}`] : [])];
}

/** How often a job is run again. */
export function retryText({ lost = 0, failed = 0, minBackoff, maxBackoff, ramFactor = 1 }: RetryPolicy): string {
  const more = ramFactor > 1 ? `, with ${ramFactor} times the memory after OUT_OF_MEMORY` : '';
  const pauses = lost + failed > 0 ? `, after ${seconds(minBackoff)} to ${seconds(maxBackoff)}` : '';
  return `${times(lost)} when lost, ${times(failed)} when failed${pauses}${more}`;
}

/** How long a job may take. */
export function limitsText({ run, queued }: TimeLimits): string {
  return [...(run ? [`${seconds(run)} an attempt`] : []), ...(queued ? [`${seconds(queued)} in the queue`] : [])].join(
    ', ',
  );
}

function times(count: number): string {
  return count === 0 ? 'never' : `${count} ${count === 1 ? 'time' : 'times'}`;
}

function seconds(duration: Duration | undefined): string {
  return `${duration ? durationMs(duration) / 1_000 : 0} s`;
}
