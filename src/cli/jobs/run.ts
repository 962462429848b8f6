import { Command } from 'commander';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { CallError } from '../../rpc/call-error.js';
import { fetchWithProgress } from '../content/output.js';
import { openPuts } from '../content/put/puts.js';
import { type RemoteOptions, remote } from '../options.js';
import { note } from '../text/output.js';
import { type JobRequestOptions, jobRequest, requestOf } from './job-request.js';
import { connected, submit } from './submit.js';

type RunOptions = RemoteOptions &
  JobRequestOptions & {
    readonly to: string;
    readonly overwrite?: boolean;
    readonly follow?: boolean;
    readonly alwaysNew?: boolean;
  };

/** `memoir run`. */
export function runCommand(): Command {
  const command = jobRequest(
    new Command('run').description(
      'have the files that a script makes, from a past job or a new one: submit, wait, fetch',
    ),
  )
    .requiredOption('--to <directory>', 'where the files of the output are put')
    .option('--overwrite', 'replace other files that lie there')
    .option('--follow', 'print the live log while waiting')
    .option('--always-new', 'run it in any case');
  return remote(command).action(async (options: RunOptions) => {
    const puts = openPuts();
    const request = await requestOf(options, puts);
    await connected(options, async (clients) => {
      await puts.upload(clients);
      const job = await submit(clients, { ...options, wait: true }, request);
      if (job.state !== JobState.COMPLETE) return;
      const { to, overwrite = false } = options;
      await fetchWithProgress(clients, { uuid: job.uuid, path: '', to, overwrite, attempt: 0 }).catch(
        (error: unknown) => {
          if (error instanceof CallError && error.reason === 'NOT_HELD')
            note('--always-new runs it again, and keeps what it makes');
          throw error;
        },
      );
    });
  });
}
