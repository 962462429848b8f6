import type { CompleteCommand, FailCommand } from '../../domain/commands.js';
import { isTooLarge, quote } from '../../domain/errors.js';
import type { Caller } from '../caller.js';
import type { Executed, JobStreams } from '../job-streams.js';

/** Longest address of a log that is still recorded where the rest of a report is too large, in characters. */
const longestLog = 256;

/**
 * Ends a run as its worker reports. A report that the event store never takes fails the job, so that it does not run for ever.
 * @throws MemoirError as `execute`; EVENT_TOO_LARGE also when the job was failed for that
 */
export async function endJob(
  streams: Pick<JobStreams, 'execute'>,
  caller: Caller,
  uuid: string,
  command: CompleteCommand | FailCommand,
): Promise<Executed> {
  try {
    return await streams.execute(caller, uuid, command);
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
