import { tmpdir } from 'node:os';
import { Command, Option } from 'commander';
import { runtimeNames } from '../../worker/run/image-runtime.js';
import { sandboxChoices } from '../../worker/run/sandbox.js';
import { defaultPath } from '../../worker/script-environment.js';
import { integer, named, repeated, seconds, server } from '../options.js';
import { note } from '../text/output.js';
import type { WorkerOptions } from './run-worker.js';

/** `memoir worker`. */
export function workerCommand(): Command {
  return server(new Command('worker').description('run queued jobs'), 'who the worker is (default: user@host)')
    .option('--name <name>', 'what this worker calls itself beside its principal (default: unique)')
    .addOption(new Option('--config <file>', "a server's TOML file, for its repositories").env('MEMOIR_CONFIG'))
    .option('--repository <name=path>', 'a local git repository (repeatable)', named)
    .option('--kept <directory>', "a server's <data_dir>/git/kept, to take the commits of jobs from")
    .option(
      '--store-dir <directory>',
      'keep outputs and logs in a directory here, from which nobody is given them (default: upload them)',
    )
    .addOption(
      new Option(
        '--content <url>',
        'grpc(s)://host:port/instance of the store that the server keeps content in, to reach it directly (default: through the server)',
      ).env('MEMOIR_CONTENT'),
    )
    .addOption(
      new Option(
        '--content-ca <file>',
        "PEM file of the authority that vouches for that store's certificate (default: those that the system has)",
      ).env('MEMOIR_CONTENT_CA'),
    )
    .option('--work-dir <directory>', 'where jobs run; emptied after them', tmpdir())
    .option('--jobs <number>', 'most jobs to run at a time', integer(1, 1_024), 1)
    .option('--cores <number>', 'processor cores to offer (default: what the machine has)', integer(0, 1_000_000))
    .option('--ram-mb <MiB>', 'memory to offer (default: what the machine has)', integer(0, 2 ** 40))
    .option('--scratch-mb <MiB>', 'scratch disk to offer (default: what is free at --work-dir)', integer(0, 2 ** 40))
    .option('--label <name=value>', 'a label of this worker, for jobs that require it (repeatable)', named)
    .addOption(
      new Option(
        '--image-runtime <name>',
        'run jobs that name an image by this command; auto takes what there is',
      ).choices([...runtimeNames, 'auto']),
    )
    .addOption(
      new Option('--sandbox <name>', 'keep all other jobs apart from this machine; auto: by bubblewrap, where it works')
        .env('MEMOIR_SANDBOX')
        .choices([...sandboxChoices])
        .default('auto'),
    )
    .option('--sandbox-read <directory>', 'a directory that jobs in a sandbox may read (repeatable)', repeated)
    .option('--network <name>', 'network of the image runtime that jobs get which require the label network=<name>')
    .option(
      '--secrets <file>',
      'secrets that jobs may ask for, with the repositories and principals that each is granted to: TOML, or JSON if its name ends so',
    )
    .option('--max-processes <number>', 'most processes of a run', integer(1, 4_194_304), 4_096)
    .option('--once', 'end when the queue is empty')
    .option('--lease <seconds>', 'for how long a job is held without a sign of life', seconds(1, 3_600), 60)
    .option('--drain-timeout <seconds>', 'how long jobs may go on after SIGTERM', seconds(0, 86_400), 30)
    .option('--grace <seconds>', 'time between SIGTERM and SIGKILL for a script', seconds(0, 3_600), 5)
    .option(
      '--log-limit <MiB>',
      'most that a script may print; it is killed if it prints more',
      integer(1, 1_048_576),
      4_096,
    )
    .option('--max-output-bytes <bytes>', 'most bytes of an output, in all its files', integer(0, 2 ** 50), 2 ** 40)
    .option('--max-output-files <number>', 'most files of an output', integer(0, 1_000_000), 1_000_000)
    .option('--max-work-bytes <bytes>', 'most that a run may take of the disk', integer(0, 2 ** 50), 2 ** 40)
    .option('--max-input-bytes <bytes>', 'most bytes of the inputs of a job', integer(0, 2 ** 50), 2 ** 40)
    .option('--input-cache <directory>', 'where inputs are kept for the next job (default: in --work-dir)')
    .option('--input-cache-mb <MiB>', 'most of the disk that kept inputs take', integer(0, 2 ** 40), 10_240)
    .option(
      '--checkout-cache-mb <MiB>',
      'most of the disk for checkouts that jobs in a sandbox left as they found them, for the next job of the same tree; 0 keeps none',
      integer(0, 2 ** 40),
      1_024,
    )
    .option(
      '--no-clone',
      'copy inputs where files could be shared until one is written, or where jobs cannot write them',
    )
    .option(
      '--unstored-mb <MiB>',
      'most of the disk for outputs that cannot be stored, which are kept for a day; 0 keeps none',
      integer(0, 2 ** 40),
      1_024,
    )
    .option('--min-free <MiB>', 'least free space to run jobs with', integer(0, 1_048_576), 64)
    .option('--path <directories>', `the scripts' PATH (default: ${defaultPath})`)
    .option('--env <name=value>', 'a variable that scripts get (repeatable)', named)
    .option('--pass-env <name>', 'a variable of this environment that scripts get too (repeatable)', repeated)
    .addOption(
      new Option('--log-level <level>', 'least severe log lines to write')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
        .default('info'),
    )
    .action(async (options: WorkerOptions) => {
      const { runBelowInit } = await import('./process-one.js');
      if (await runBelowInit(note)) return;
      // Loaded only here: the other commands start faster without a worker's libraries.
      const { runWorker } = await import('./run-worker.js');
      await runWorker(options);
    });
}
