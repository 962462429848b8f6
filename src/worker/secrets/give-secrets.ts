import { createHash } from 'node:crypto';
import { lstat, mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { OfferedSecretSchema } from '../../../gen/memoir/jobs/v1/secret_pb.js';
import { messageOf } from '../../domain/errors.js';
import { isGranted, secretText } from '../../domain/secrets/grants.js';
import type { RunPlaces } from '../run/run-places.js';
import { RunFailure } from '../run-failure.js';
import type { HeldSecret } from './held-secrets.js';

/** Where file systems in memory are, and what the system calls their kind. */
const memory = '/dev/shm';
const tmpfs = 0x0102_1994;

/** Secrets of a worker, and where runs are given them. */
export type WorkerSecrets = {
  readonly held: readonly HeldSecret[];
  /** A directory in memory; undefined where there is none: then they are in the directory of the run. */
  readonly directory: string | undefined;
  remove(): Promise<void>;
};

/**
 * Opens the place of a worker's secrets, which is its own by the directory that it works in: what a worker left there that was killed is removed, also where
 * none are held any more.
 */
export async function openWorkerSecrets(held: readonly HeldSecret[], workDirectory: string): Promise<WorkerSecrets> {
  const uid = process.getuid?.() ?? 0;
  const name = `memoir-secrets-${uid}-${createHash('sha256').update(workDirectory).digest('hex').slice(0, 16)}`;
  const path = join(memory, name);
  const remove = () => rm(path, { recursive: true, force: true });
  const none = { held, directory: undefined, remove: async () => undefined };
  try {
    if ((await statfs(memory)).type !== tmpfs) return none;
    const left = await lstat(path).catch(() => undefined);
    // The name can be taken by anybody.
    if (left && (!left.isDirectory() || left.uid !== uid)) return none;
    await remove();
    if (held.length === 0) return none;
    await mkdir(path, { mode: 0o700 });
    return { held, directory: path, remove };
  } catch {
    return none;
  }
}

/** The secrets as an offer states them. */
export function offeredSecrets(held: readonly HeldSecret[]): MessageInitShape<typeof OfferedSecretSchema>[] {
  return held.map(({ name, grant, repositories, principals }) => ({
    name,
    grant,
    repositories: [...repositories],
    principals: [...principals],
  }));
}

/**
 * Puts the secrets of a job where its script finds them, each in a file of its name. They must be granted to everybody who wants the job.
 * @param interested - who wants it, as the claim told
 * @returns what they say; nothing is put of a job without any
 * @throws RunFailure SECRET_NOT_GRANTED, SECRET_UNAVAILABLE, by the fault of the place
 */
export async function giveSecrets(
  held: readonly HeldSecret[],
  { secrets, repository }: Pick<Job, 'secrets' | 'repository'>,
  interested: readonly string[],
  places: Pick<RunPlaces, 'secrets'>,
  logger: Pick<Logger, 'error'>,
  signal: AbortSignal,
): Promise<readonly Buffer[]> {
  const given: { readonly name: string; readonly bytes: Buffer }[] = [];
  for (const secret of secrets) {
    const has = held.find(({ name, grant }) => name === secret.name && grant === secret.grant);
    const granted =
      has && interested.length > 0 && interested.every((principal) => isGranted(has, repository, principal));
    if (!granted) {
      const why = has ? 'does not grant it to everybody who wants the job' : 'does not have it';
      throw new RunFailure(
        'SECRET_NOT_GRANTED',
        `the job asks for the secret ${secretText(secret)}, and this worker ${why}`,
        Fault.PLACE,
      );
    }
    try {
      given.push({ name: secret.name, bytes: await has.read(signal) });
    } catch (error) {
      signal.throwIfAborted();
      logger.error({ secret: secretText(secret), why: messageOf(error) }, 'a secret cannot be had');
      throw new RunFailure(
        'SECRET_UNAVAILABLE',
        `the secret ${secretText(secret)} cannot be had at this worker`,
        Fault.PLACE,
      );
    }
  }
  if (given.length > 0) await mkdir(places.secrets, { mode: 0o700 });
  for (const { name, bytes } of given) await writeFile(join(places.secrets, name), bytes, { flag: 'wx', mode: 0o400 });
  return given.map(({ bytes }) => bytes);
}
