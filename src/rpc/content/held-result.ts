import type { Attempt } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { stateName } from '../../domain/job.js';

/** What servers keep under an address that it had elsewhere; undefined if they do not. */
export type Imported = (address: string) => Digest | undefined;

/**
 * The output of a job, or what an attempt of it had made until it ended if a number is given.
 * @throws MemoirError NOT_FOUND ATTEMPT_NOT_FOUND; FAILED_PRECONDITION NO_OUTPUT, NOT_HELD
 */
export function heldOutput(job: Job, number: number, imported: Imported): Digest {
  const { output, outputDigest } = number === 0 ? job : attemptOf(job, number);
  const of = number === 0 ? `job ${job.uuid}` : `attempt ${number} of job ${job.uuid}`;
  if (output === '') {
    const part = number === 0 ? job.attempts.findLast((one) => one.output !== '') : undefined;
    const hint = part ? `; attempt ${part.number} left what it had made until it ended` : '';
    const which = number === 0 ? `, which is ${stateName(job.state)},` : '';
    throw none('NO_OUTPUT', job, `${of}${which} has no output${hint}`);
  }
  return outputDigest ?? imported(output) ?? fail(notHeld(job, `the output ${quote(output)} of ${of}`));
}

/**
 * The log of an attempt of a job, or of the last one that has any if no number is given; as older workers kept it, a tree with that file alone.
 * @throws MemoirError NOT_FOUND ATTEMPT_NOT_FOUND; FAILED_PRECONDITION NO_LOG, NOT_HELD
 */
export function heldLog(job: Job, number: number, imported: Imported): Digest {
  const attempt = number === 0 ? job.attempts.findLast(({ log }) => log !== '') : attemptOf(job, number);
  const { log, logDigest } = attempt ?? job;
  const of = number === 0 ? `job ${job.uuid}` : `attempt ${number} of job ${job.uuid}`;
  if (log === '') {
    throw none(
      'NO_LOG',
      job,
      `${of} has left no log, and is ${stateName(job.state)}; TailJobLog tells what was recorded live`,
    );
  }
  return logDigest ?? imported(log) ?? fail(notHeld(job, `the log ${quote(log)} of ${of}`));
}

function attemptOf(job: Job, number: number): Attempt {
  const found = job.attempts.find((one) => one.number === number);
  const message = `job ${job.uuid} has no attempt ${number}, but ${job.attempts.length}`;
  return found ?? fail(new MemoirError('NOT_FOUND', 'ATTEMPT_NOT_FOUND', message, { field: 'attempt' }));
}

function none(reason: 'NO_OUTPUT' | 'NO_LOG', { uuid, state }: Job, message: string): MemoirError {
  return new MemoirError('FAILED_PRECONDITION', reason, message, { metadata: { uuid, state: stateName(state) } });
}

function notHeld({ uuid }: Job, what: string): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'NOT_HELD',
    `${what} is not held here: it was kept elsewhere, such as in the directory of the worker that ran it`,
    { metadata: { uuid } },
  );
}

function fail(error: MemoirError): never {
  throw error;
}
