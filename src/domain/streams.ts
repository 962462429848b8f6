/** Stream of what happens to a job. */
export const jobStream = (uuid: string): string => `job-${uuid}`;

/** Stream of the requests that were answered with a job. */
export const reuseStream = (uuid: string): string => `reuse-${uuid}`;

/** Stream of a job's live log. */
export const jobLogStream = (uuid: string): string => `joblog-${uuid}`;

/** Stream of the exclusions of jobs and commits of a repository. */
export const exclusionStream = (repository: string): string => `exclusion-${repository}`;

/** Stream of the exclusions of docker images. */
export const imageExclusionStream = 'exclusion-@images';

/** Stream of the exclusions of outputs. */
export const outputExclusionStream = 'exclusion-@outputs';

/** Stream of the exclusions of what workers ran. */
export const workerExclusionStream = 'exclusion-@workers';

/** Streams of the exclusions of what belongs to no repository. */
export const exclusionStreamsOfNone: readonly string[] = [
  imageExclusionStream,
  outputExclusionStream,
  workerExclusionStream,
];

/** The repository in the name of a stream of exclusions of jobs and commits. */
export const repositoryOfExclusionStream = (stream: string): string => stream.slice('exclusion-'.length);

/** Stream of what is intended for a submit_id, by the digest of its principal and itself. */
export const submitStream = (digest: string): string => `submit-${digest}`;

/** Stream of what a job is run again by, by hand. */
export const retryStream = (uuid: string): string => `retry-${uuid}`;

/** Stream of what is known of a worker, by the digest of its principal and name. */
export const workerStream = (digest: string): string => `worker-${digest}`;

/** Stream of the pauses of the queue. */
export const queuePausesStream = 'queue-pauses';

/** Stream of the repositories that were added and removed while servers ran. */
export const repositorySetStream = 'repository-set';

/** Stream of what is known of content, by its hash. */
export const contentStream = (hash: string): string => `content-${hash}`;

/** Stream of whether what a job left is to stay. */
export const pinStream = (uuid: string): string => `pin-${uuid}`;

/** Stream of the docker images of a repository. */
export const imageStream = (repository: string): string => `image-${repository}`;

/** The repository in the name of a stream of images. */
export const repositoryOfImageStream = (stream: string): string => stream.slice('image-'.length);

/** Stream of the checkpoints that servers signed. */
export const checkpointStream = 'checkpoint-log';

/** Stream of the generations of the log. */
export const generationStream = 'log-generation';

/** Stream of the keys that the log is signed with. */
export const signingStream = 'log-signing';

/**
 * What the name of every stream of Memoir begins with. A store that others use too gives only these, so a new kind of stream must
 * be added here.
 */
export const streamPrefixes: readonly string[] = [
  'job-',
  'reuse-',
  'joblog-',
  'image-',
  'exclusion-',
  'checkpoint-',
  'log-',
  'submit-',
  'retry-',
  'worker-',
  'queue-',
  'content-',
  'pin-',
  'repository-',
];

/** The uuid in the name of a job's stream. */
export const uuidOfJobStream = (stream: string): string => stream.slice('job-'.length);

/** The uuid in the name of any stream of a job: its own, that of its answers, that of its live log, that of its pins; undefined for others. */
export function uuidOfAnyJobStream(stream: string): string | undefined {
  const uuid = /^(?:job|reuse|joblog|pin)-(.*)$/s.exec(stream)?.[1];
  return uuid !== undefined && isUuid(uuid) ? uuid : undefined;
}

/** Whether a text is a UUID in lower case, of any version. */
export const isUuid = (text: string): boolean =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(text);
