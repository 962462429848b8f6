import type { CompleteCommand, FailCommand } from '../../domain/commands.js';
import { isTooLarge, MemoirError, quote } from '../../domain/errors.js';
import type { JobEvent } from '../../domain/events.js';
import { ranElsewhereReason } from '../../domain/ran/ran-elsewhere.js';
import type { Caller } from '../caller.js';
import type { Executed, JobStreams } from '../job-streams.js';

/** Longest address of a log that is still recorded where the rest of a report is too large, in characters. */
const longestLog = 256;

/**
 * Ends a run as its worker reports. A report that the event store never takes fails the job, so that it does not run for ever.
 * @throws MemoirError as `execute`; EVENT_TOO_LARGE also when the job was failed for that; FAILED_PRECONDITION RAN_ELSEWHERE when the
 * attempt was ended since it did not run in its job's image
 */
export async function endJob(
  streams: Pick<JobStreams, 'execute'>,
  caller: Caller,
  uuid: string,
  command: CompleteCommand | FailCommand,
): Promise<Executed> {
  try {
    const executed = await streams.execute(caller, uuid, command);
    if (command.kind === 'complete') for (const event of executed.events) refused(uuid, event);
    return executed;
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    const { worker, tokenDigest, now } = command;
    const what = command.kind === 'fail' ? `failure, ${command.reason} ${quote(command.message)},` : 'completion';
    const message = `its ${what} could not be recorded: ${(error as Error).message}`;
    const log = command.log.length <= longestLog ? command.log : '';
    await streams.execute(caller, uuid, { kind: 'fail', worker, tokenDigest, now, log, message, reason: tooLarge });
    throw error;
  }
}

const tooLarge = 'EVENT_TOO_LARGE';

/** @throws MemoirError if the event is what became of a completion that the job could not take */
function refused(uuid: string, event: JobEvent): void {
  if (event.$typeName !== 'memoir.events.v1.JobFailed' && event.$typeName !== 'memoir.events.v1.JobAttemptEnded')
    return;
  throw new MemoirError(
    'FAILED_PRECONDITION',
    ranElsewhereReason,
    `attempt ${event.attempt} ends here: ${event.message}`,
    {
      metadata: { uuid, attempt: String(event.attempt) },
    },
  );
}
