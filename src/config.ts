import { z } from 'zod';
import { registryConfig, registryPrefix } from './config/registries.js';
import { imageSearch } from './domain/image-name.js';

/** Names of repositories: parts of letters, digits, ".", "_" and "-" between slashes, none of which begins with a dot. */
export const repositoryName = z
  .string()
  .regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/)
  .max(255);

/** Where a repository is. */
export const repositoryConfig = z.strictObject({
  /** Directory of a local repository, bare or not. */
  path: z.string().min(1),
});

/** Everything that a server can be told. File, environment and flags all give values of this. */
export const serverConfig = z.strictObject({
  /** Directory of everything that the server keeps. */
  data_dir: z.string().min(1),
  /** Address to listen on, as host:port; port 0 takes any free one. */
  listen: z.string().default('127.0.0.1:7420'),
  /** URL of the event store: `sqlite:` and a path, or `kurrentdb://…`. Without it, events.sqlite in the data directory. */
  store: z.string().optional(),
  /** Repositories by name. */
  repositories: z.record(repositoryName, repositoryConfig).default({}),
  /** TOML file of the policy, of who may do what. Without it everybody may do everything. */
  policy: z.string().min(1).optional(),
  /** Docker registries that are asked what tags name, by the beginning of the names of repositories. */
  registries: z.record(registryPrefix, registryConfig).default({}),
  /** Docker image of jobs that name none, as a hash, repository or repository:tag. Without it, such jobs have none. */
  default_docker_image: z
    .string()
    .refine((text) => imageSearch(text) !== undefined, 'give a hash, repository or repository:tag')
    .optional(),
  /** Whether a finished job is reused although finished jobs of the same work have different outputs. */
  reuse_if_outputs_differ: z.boolean().default(false),
  /** Most bytes of one job's live log. */
  job_log_limit: z
    .int()
    .min(0)
    .default(16 * 1024 * 1024),
  /** How long the server may work on one list of jobs, in seconds. */
  list_time_limit: z.number().min(0.01).max(600).default(5),
  /** How long calls may go on after SIGTERM, in seconds. */
  drain_timeout: z.number().min(0).max(3_600).default(10),
  /** Least severe log lines to write. */
  log_level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** Settings of a server, with the defaults filled in. */
export type ServerConfig = z.output<typeof serverConfig>;
