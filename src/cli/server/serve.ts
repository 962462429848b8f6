import { Command, Option } from 'commander';
import { named } from '../options.js';

type ServeOptions = {
  readonly config?: string;
  readonly dataDir?: string;
  readonly listen?: string;
  readonly store?: string;
  readonly waitForStore?: boolean;
  readonly logFormat?: string;
  readonly repository?: Readonly<Record<string, string>>;
  readonly content?: string;
  readonly policy?: string;
  readonly plaintextBeyondLoopback?: boolean;
  readonly insecure?: boolean;
  readonly defaultDockerImage?: string;
  readonly reuseIfOutputsDiffer?: boolean;
  readonly logEndWithin?: string;
  readonly keepCommits?: boolean;
  readonly jobLogLimit?: string;
  readonly checkpointKey?: string;
  readonly checkpointOrigin?: string;
  readonly checkpointInterval?: string;
  readonly sign?: boolean;
  readonly drainTimeout?: string;
  readonly logLevel?: string;
  readonly acceptShorterLog?: boolean;
  readonly acceptOtherLog?: boolean;
};

/** `memoir serve`. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('run the server')
    .addOption(new Option('--config <file>', 'TOML file of settings').env('MEMOIR_CONFIG'))
    .option('--data-dir <directory>', 'directory of everything that the server keeps (MEMOIR_DATA_DIR)')
    .option('--listen <host:port>', 'address to listen on, port 0 for any (MEMOIR_LISTEN; default: 127.0.0.1:7420)')
    .option('--store <url>', 'event store (MEMOIR_STORE; default: sqlite in the data directory)')
    .option('--wait-for-store', 'wait for a store that cannot be reached at the start (MEMOIR_WAIT_FOR_STORE)')
    .option(
      '--log-format <number>',
      'highest format of events to record (MEMOIR_LOG_FORMAT; default: the newest, 1 in a store of several servers)',
    )
    .option('--repository <name=path>', 'a local git repository (repeatable; MEMOIR_REPOSITORIES=name=path,…)', named)
    .option(
      '--content <url>',
      'grpc(s)://host:port/instance of another store of content (MEMOIR_CONTENT; default: the data directory)',
    )
    .option('--policy <file>', 'TOML file of who may do what (MEMOIR_POLICY; default: everybody everything)')
    .option(
      '--plaintext-beyond-loopback',
      'let others than this machine reach a port without TLS (MEMOIR_PLAINTEXT_BEYOND_LOOPBACK)',
    )
    .addOption(new Option('--insecure', 'refused: it is no more').hideHelp())
    .option('--default-docker-image <image>', 'docker image of jobs that name none (MEMOIR_DEFAULT_DOCKER_IMAGE)')
    .option('--reuse-if-outputs-differ', 'reuse the oldest although outputs differ (MEMOIR_REUSE_IF_OUTPUTS_DIFFER)')
    .option(
      '--log-end-within <seconds>',
      'answer with complete jobs unread so long after the end of a shared log was seen (MEMOIR_LOG_END_WITHIN)',
    )
    .option('--keep-commits', 'copy the commits that jobs use into the data directory (MEMOIR_KEEP_COMMITS)')
    .option('--job-log-limit <bytes>', "most bytes of a job's live log (MEMOIR_JOB_LOG_LIMIT)")
    .option(
      '--checkpoint-key <file>',
      'private key of checkpoints (MEMOIR_CHECKPOINT_KEY; default: in the data directory)',
    )
    .option('--checkpoint-origin <name>', 'name of the log in its checkpoints (MEMOIR_CHECKPOINT_ORIGIN)')
    .option('--checkpoint-interval <seconds>', 'how often one is recorded, 0 for never (MEMOIR_CHECKPOINT_INTERVAL)')
    .option('--sign', 'sign events with that key, and pass over what no key of the log has signed (MEMOIR_SIGN)')
    .option('--drain-timeout <seconds>', 'how long calls may go on after SIGTERM (MEMOIR_DRAIN_TIMEOUT)')
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent (MEMOIR_LOG_LEVEL)')
    .option(
      '--accept-shorter-log',
      'go on, this once, with a log that lost its end or is missing: a generation of it begins',
    )
    .option('--accept-other-log', 'go on, this once, with another log than the one that the data directory knows')
    .addHelpText(
      'after',
      '\nFlags go before environment variables, these before the file, and that before the defaults.',
    )
    .action(async (options: ServeOptions) => {
      // Loaded only here: the other commands start faster without a server's libraries.
      const { runServer } = await import('./run-server.js');
      const sources = {
        file: options.config,
        environment: process.env,
        flags: {
          data_dir: options.dataDir,
          listen: options.listen,
          store: options.store,
          wait_for_store: options.waitForStore,
          log_format: options.logFormat,
          repositories: options.repository,
          content: options.content,
          policy: options.policy,
          plaintext_beyond_loopback: options.plaintextBeyondLoopback,
          insecure: options.insecure,
          default_docker_image: options.defaultDockerImage,
          reuse_if_outputs_differ: options.reuseIfOutputsDiffer,
          log_end_within: options.logEndWithin,
          keep_commits: options.keepCommits,
          job_log_limit: options.jobLogLimit,
          checkpoint_key: options.checkpointKey,
          checkpoint_origin: options.checkpointOrigin,
          checkpoint_interval: options.checkpointInterval,
          sign: options.sign,
          drain_timeout: options.drainTimeout,
          log_level: options.logLevel,
        },
        directory: process.cwd(),
      };
      const { acceptShorterLog: shorterLog = false, acceptOtherLog: otherLog = false } = options;
      await runServer(sources, { shorterLog, otherLog });
    });
}
