import * as z from 'zod';
import { authConfig, tlsConfig } from './config/auth.js';
import { isDuration } from './config/duration.js';
import { limitsConfig } from './config/limits.js';
import { registryConfig, registryPrefix } from './config/registries.js';
import { rpcConfig } from './config/rpc.js';
import { normalCodePaths } from './domain/code/code-paths.js';
import { imageSearch } from './domain/image-name.js';
import { newestFormat } from './domain/log-format.js';
import { isKeyName, parseVerifierKey } from './domain/log-tree/verifier-key.js';
import { parseContentUrl } from './domain/outputs/content-url.js';
import { repositoryGlobs } from './domain/repositories/repository-glob.js';
import { longestRepositoryName, repositoryNamePattern } from './domain/repositories/repository-name.js';
import { isPrice } from './domain/savings/prices.js';

/** Names of repositories. */
export const repositoryName = z.string().regex(repositoryNamePattern).max(longestRepositoryName);

/** Paths inside a tree, as requests name them, made normal. */
const codePaths = z
  .array(z.string())
  .min(1)
  .transform((paths, context) => {
    try {
      return normalCodePaths(paths);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  });

/** Where a repository is: a local directory, or a server that it is fetched from. */
export const repositoryConfig = z
  .strictObject({
    /** Directory of a local repository, bare or not. */
    path: z.string().min(1).optional(),
    /** Address of a remote repository, without user and password. */
    url: z.string().min(1).optional(),
    /** User and password, sent to that address alone. */
    username: z.string().min(1).optional(),
    password: z.string().min(1).optional(),
    /** Code paths of requests that name none: the parts of a commit that jobs see. Without them, all of it. */
    code_paths: codePaths.optional(),
  })
  .refine(({ path, url }) => (path === undefined) !== (url === undefined), 'give either path or url')
  .refine(
    ({ url, username, password }) =>
      (username === undefined) === (password === undefined) && (username === undefined || url !== undefined),
    'give username and password both, with url, or neither',
  );

/** What is sent to remote repositories that are added while servers run. */
const credentialConfig = z.strictObject({
  /** Address below which it is sent, and nowhere else. */
  url: z.url({ protocol: /^https?$/, error: 'give an address of https: or http:' }),
  username: z.string().min(1),
  password: z.string().min(1),
});

/** What is allowed of remote repositories, and when they are fetched. Times are in seconds. */
export const remotesConfig = z.strictObject({
  /** Hosts that may be fetched from; `*.example.org` for all below one. */
  allowed_hosts: z.array(z.string().min(1)).default([]),
  /** Whether `http:` is allowed beside `https:`. */
  allow_http: z.boolean().default(false),
  /** Whether `git:` is allowed. */
  allow_git: z.boolean().default(false),
  /** Whether hosts with private addresses are allowed. */
  allow_private_addresses: z.boolean().default(false),
  /** How old the last fetch may be when a repository is asked for. */
  refresh_after: z.number().min(0).max(86_400).default(10),
  /** How old the last fetch may be where the next one fails; 0 refuses what could be stale. */
  accept_stale: z.number().min(0).max(31_536_000).default(0),
  /** Longest time until a remote has said what it has. */
  deadline: z.number().min(1).max(86_400).default(120),
  /** Longest silence in one fetch. */
  silence: z.number().min(1).max(3_600).default(30),
  /** Most bytes of one fetch. */
  max_bytes: z
    .int()
    .min(1)
    .default(1024 * 1024 * 1024),
  /** Most bytes that the packs of one mirror take on the disk. */
  max_mirror_bytes: z
    .int()
    .min(1)
    .default(16 * 1024 * 1024 * 1024),
  /** How long a mirror keeps what no branch or tag of its remote reaches any more, and no job is of. */
  keep_unreachable: z.number().min(3_600).max(3_153_600_000).default(1_209_600),
});

/** What past jobs are answers. */
export const reuseConfig = z.strictObject({
  /** Whose queued and running jobs are answers: those that the caller may read, or its own alone. */
  share_unfinished: z.enum(['readers', 'owner']).default('readers'),
  /** Whether complete jobs that name an image are answers although their worker did not state that they ran there. */
  trust_unstated_images: z.boolean().default(false),
  /** Who may have a job run again to be the answer in the place of what there is: who administers its repository, or all who may request jobs. */
  supersede: z.enum(['admins', 'submitters']).default('admins'),
});

/** Globs of repositories, or of scripts: `*` stands for anything within one part, `**` for any parts. */
const glob = z.string().refine((text) => repositoryGlobs([text]) !== undefined, 'give a glob such as "team/*"');

/** Parameters that can change nothing of what a script computes, so that they are no part of a job's identity. */
export const unhashedConfig = z.strictObject({
  repository: glob,
  script: glob,
  /** Names of members of unhashed_parameters. */
  names: z.array(z.string().min(1)).min(1),
});

/** Which complete jobs are run again to compare what they give, and what a difference does. */
export const determinismConfig = z.strictObject({
  /** Share of the answers with a complete job, and of the completions, after which the job is run again in the background; 0 for none. */
  sample: z.number().min(0).max(1).default(0),
  /** How many of these runs may be queued and running together. */
  at_once: z.int().min(1).max(1_000).default(4),
  /** What becomes of a job of which a second run gave another output: it is said in the log of the server, or also excluded from reuse. */
  on_difference: z.enum(['report', 'exclude']).default('report'),
});

const price = z.string().refine(isPrice, 'give a decimal number as text, such as "2.40"');

/** What an hour of a run costs, by a label of the worker. */
export const pricesConfig = z.strictObject({
  /** In what prices are, such as "EUR": for people. */
  currency: z.string().min(1).max(16),
  /** The label of workers that prices go by. */
  label: z.string().min(1).max(63),
  /** Price of an hour by the value of that label. */
  per_hour: z.record(z.string(), price),
  /** Price of an hour at other workers. Without it, their runs have no price. */
  other: price.optional(),
});

/** How the queue is given out. Times are in seconds. */
export const queueConfig = z.strictObject({
  /** How long a job waits for another worker than the one that lost it or had no place for it; 0 does not wait. */
  prefer_others_for: z.number().min(0).max(86_400).default(30),
  /** How long a job is passed over by smaller ones until a worker is kept free for it; 0 keeps none. */
  reserve_after: z.number().min(0).max(31_536_000).default(300),
});

/** A public key as `memoir audit key` prints it. */
const publicKey = z.string().superRefine((text, context) => {
  try {
    parseVerifierKey(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
});

/** Where a store of content is called. */
const contentUrl = z.string().superRefine((text, context) => {
  try {
    parseContentUrl(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
});

const contentConfig = z
  .strictObject({
    /** `grpc(s)://host:port/instance` of another store of the Remote Execution API. Without it, the server keeps content in its data directory. */
    store: contentUrl.optional(),
    /** PEM file of the authority that vouches for that store's certificate. Without it, those that the system has. */
    ca: z.string().min(1).optional(),
    /** How long what a job left stays that nobody asked to stay for a time: "90d", "12h". Without it, for ever. */
    keep: z.string().refine(isDuration, 'give a whole number and s, m, h, d or w').optional(),
    /** Most bytes of all that is kept; then what was asked for longest ago goes. Without it, any. */
    quota: z.int().min(0).optional(),
    /** The same for what the jobs of one principal left. */
    quota_by_principal: z.int().min(0).optional(),
    /** Bytes of kept content that are hashed each second in the background, to find what was damaged; 0 for none. */
    scrub_rate: z
      .int()
      .min(0)
      .default(8 * 1024 ** 2),
  })
  .refine(
    ({ store, ca }) => ca === undefined || store?.startsWith('grpcs:') === true,
    'give ca only with a store of grpcs:',
  );

/** Everything that a server can be told. File, environment and flags all give values of this. */
export const serverConfig = z.strictObject({
  /** Directory of everything that the server keeps. */
  data_dir: z.string().min(1),
  /** Address to listen on, as host:port; port 0 takes any free one. */
  listen: z.string().default('127.0.0.1:7420'),
  /** URL of the event store: `sqlite:` and a path, or `kurrentdb://…`. Without it, events.sqlite in the data directory. */
  store: z.string().optional(),
  /** Whether the server waits for a store that cannot be reached when it starts, instead of ending. */
  wait_for_store: z.boolean().default(false),
  /**
   * Highest format of the log that events may be recorded in. Without it, the newest in the embedded store, and 1 in a store that
   * other servers share.
   */
  log_format: z.int().min(1).max(newestFormat).optional(),
  /** Repositories by name. */
  repositories: z.record(repositoryName, repositoryConfig).default({}),
  /** Credentials that repositories are added with, by name. */
  credentials: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/), credentialConfig).default({}),
  /** Rules for repositories that are fetched from elsewhere. */
  remotes: remotesConfig.prefault({}),
  /** TOML file of the policy, of who may do what. Without it everybody may do everything. */
  policy: z.string().min(1).optional(),
  /** With what the port encrypts. Without it, it does not, and only this machine may reach it. */
  tls: tlsConfig.optional(),
  /** What proves who calls. */
  auth: authConfig.prefault({}),
  /** Whether a port without TLS may be reached by others than this machine. */
  plaintext_beyond_loopback: z.boolean().default(false),
  /** Docker registries that are asked what tags name, by the beginning of the names of repositories. */
  registries: z.record(registryPrefix, registryConfig).default({}),
  /** Docker image of jobs that name none, as a hash, repository or repository:tag. Without it, such jobs have none. */
  default_docker_image: z
    .string()
    .refine((text) => imageSearch(text) !== undefined, 'give a hash, repository or repository:tag')
    .optional(),
  /** Whether a finished job is reused although finished jobs of the same work have different outputs. */
  reuse_if_outputs_differ: z.boolean().default(false),
  /** What is reused. */
  reuse: reuseConfig.prefault({}),
  /** Which parameters may be left out of what is computed. */
  unhashed_parameters: z.array(unhashedConfig).default([]),
  /** What is run again to compare. */
  determinism: determinismConfig.prefault({}),
  /** What runs cost. Without it, nothing is said of that. */
  prices: pricesConfig.optional(),
  /** How the queue is given out. */
  queue: queueConfig.prefault({}),
  /**
   * On a store that other servers write too: a complete job is answered with without a read of its stream while this server was at the end of
   * the log within so many seconds; 0 always reads.
   */
  log_end_within: z.number().min(0).max(10).default(0.25),
  /** Whether the commits that jobs use are copied into the data directory, so that their repositories may lose them. */
  keep_commits: z.boolean().default(false),
  /** Most bytes of one job's live log. */
  job_log_limit: z
    .int()
    .min(0)
    .default(16 * 1024 * 1024),
  /** File of the Ed25519 key that checkpoints of the log are signed with. Without it, checkpoint.key in the data directory, made if it is not there. */
  checkpoint_key: z.string().min(1).optional(),
  /** The same key from a command, with its arguments, that prints it; without a shell. Not with `checkpoint_key`. */
  checkpoint_key_command: z.array(z.string().min(1)).min(1).optional(),
  /** Name of the log in its checkpoints. Without it, `memoir/` and the beginning of a hash of the key. */
  checkpoint_origin: z
    .string()
    .refine(isKeyName, 'give up to 255 characters without white space, "+" and control characters')
    .optional(),
  /** Whether events are signed with that key, and what none of the log's keys has signed is passed over. */
  sign: z.boolean().default(false),
  /** Public keys of other servers of the log, beside its own, whose signatures are good. */
  trusted_keys: z.array(publicKey).default([]),
  /** Public keys that servers of the log signed with before, and do not any more. */
  retired_keys: z.array(publicKey).default([]),
  /** How old the last checkpoint may become before the next one is recorded, in seconds; 0 records none. */
  checkpoint_interval: z.number().min(0).max(2_000_000).default(3_600),
  /** How long the server may work on one list of jobs, in seconds. */
  list_time_limit: z.number().min(0.01).max(600).default(5),
  /** How long the history of a repository stays in memory that nobody asks for, in seconds; 0 for as long as there is room. */
  history_idle_timeout: z.number().min(0).max(31_536_000).default(3_600),
  /** Most bytes of all histories in memory; one alone may have more. About 36 a commit. */
  history_memory_limit: z
    .int()
    .min(0)
    .default(1024 ** 3),
  /** What becomes of a hit where it cannot be told whether all of its output is there. */
  content_unchecked: z.enum(['answer', 'refuse']).default('answer'),
  /** Bytes by their address. An address of another store alone stands for the table with that. */
  content: contentConfig.prefault({}),
  /** What one server, one connection and one call may take. */
  rpc: rpcConfig.prefault({}),
  /** What callers may take, by who they are. */
  limits: limitsConfig.prefault({}),
  /** How long calls may go on after SIGTERM, in seconds. */
  drain_timeout: z.number().min(0).max(3_600).default(10),
  /** Least severe log lines to write. */
  log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** Settings of a server, with the defaults filled in. */
export type ServerConfig = z.output<typeof serverConfig>;
