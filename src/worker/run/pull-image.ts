import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { quote } from '../../domain/errors.js';
import { imageSearch } from '../../domain/image-name.js';
import { RunFailure, runtimePlace } from '../run-failure.js';
import { type CommandEnd, complaint } from './command.js';
import type { ImageRuntime } from './image-runtime.js';

/** What is registered of an image: where it is had from, and what it is known by. */
export type KnownImage = { readonly repository: string; readonly hash: string };

/** An image that the runtime has, as it reports it. */
export type PulledImage = {
  /** What the runtime knows it by. */
  readonly id: string;
  readonly manifestDigest: string;
  readonly configId: string;
  readonly platform: string;
  /** Digest of the list that it was taken from; empty if it was taken from none. */
  readonly listDigest: string;
};

/** What runtimes say of an image that has no variant for a platform, and of one whose manifest or layers have other bytes than their digest says. */
const noVariant = /no image found in (image index|manifest list)|no matching manifest/i;
const otherBytes =
  /does not match provided manifest digest|digest did not match|verification failed for digest|unexpected commit digest/i;

/** Has images pulled by the runtime's own command, each once at a time. */
export type Pull = (locator: string, say: (line: string) => void, signal: AbortSignal) => Promise<PulledImage>;

/**
 * Makes it. `known` tells what the server has registered under a locator that does not say itself where its image is.
 * The registries, their passwords, mirrors and certificates are those that the runtime is configured with.
 * @throws RunFailure IMAGE_NOT_PULLED, WRONG_PLATFORM or IMAGE_DIGEST_MISMATCH, by a fault of the place
 */
export function imagePuller(
  runtime: ImageRuntime,
  known: (locator: string, signal: AbortSignal) => Promise<KnownImage | undefined>,
): Pull {
  const pulling = new Map<string, Promise<unknown>>();
  /** One after the other, so that an image that several jobs name is pulled once. */
  async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = pulling.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    pulling.set(key, mine);
    try {
      return await mine;
    } finally {
      if (pulling.get(key) === mine) pulling.delete(key);
    }
  }

  return async (locator, say, signal) => {
    const named = imageSearch(locator);
    const image =
      named?.repository !== undefined && named.hash !== undefined && named.tag === undefined
        ? { repository: named.repository, hash: named.hash }
        : await known(locator, signal);
    if (!image) throw notPulled(locator, 'the server does not tell which image that is');
    return inTurn(locator, async () => {
      const found = (await inspected(runtime, image, signal)) ?? (await pulled(runtime, locator, image, say, signal));
      if (found.platform !== runtime.platform) {
        const why = `it is for ${found.platform}, and this worker runs ${runtime.platform}`;
        throw failure('WRONG_PLATFORM', `the image ${quote(locator)} cannot be run here: ${why}`);
      }
      return found;
    });
  };
}

async function pulled(
  runtime: ImageRuntime,
  locator: string,
  { repository, hash }: KnownImage,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<PulledImage> {
  const reference = `${repository}@${hash}`;
  say(`pulling the image ${reference}`);
  let end: CommandEnd;
  try {
    end = await runtime.command(['pull', '--platform', runtime.platform, reference], { signal, onLine: say });
  } catch (error) {
    if (signal.aborted) throw error;
    throw noRuntime(runtime, error as Error);
  }
  if (end.code !== 0) {
    if (otherBytes.test(end.stderr)) {
      const why = `what ${reference} gave is not what its digest says: ${complaint(end)}`;
      throw failure('IMAGE_DIGEST_MISMATCH', `the image ${quote(locator)} cannot be had here: ${why}`);
    }
    if (noVariant.test(end.stderr)) {
      throw failure('WRONG_PLATFORM', `the image ${quote(locator)} has no variant for ${runtime.platform}`);
    }
    throw notPulled(locator, complaint(end));
  }
  const image = await inspected(runtime, { repository, hash }, signal);
  if (image) return image;
  throw failure(
    'IMAGE_DIGEST_MISMATCH',
    `what ${runtime.name} pulled as ${quote(reference)} is not known to it by ${hash}`,
  );
}

type Inspected = {
  readonly Id: string;
  readonly Digest?: string;
  readonly RepoDigests?: readonly string[] | null;
  readonly Os: string;
  readonly Architecture: string;
};

/** The image as the runtime has it; undefined if it has none that is known by the hash. */
async function inspected(
  runtime: ImageRuntime,
  { repository, hash }: KnownImage,
  signal: AbortSignal,
): Promise<PulledImage | undefined> {
  for (const reference of [`${repository}@${hash}`, hash]) {
    const end = await runtime.command(['image', 'inspect', reference], { signal }).catch((error: Error) => {
      throw signal.aborted ? error : noRuntime(runtime, error);
    });
    if (end.code !== 0) continue;
    const [found] = JSON.parse(end.stdout) as Inspected[];
    if (!found) continue;
    const configId = found.Id.startsWith('sha256:') ? found.Id : `sha256:${found.Id}`;
    const digests = (found.RepoDigests ?? []).map((one) => one.slice(one.indexOf('@') + 1));
    const manifestDigest = manifestOf(found.Digest, digests, hash);
    if (![configId, found.Digest, ...digests].includes(hash)) continue;
    const listDigest = hash !== manifestDigest && hash !== configId ? hash : '';
    const platform = `${found.Os}/${found.Architecture}`;
    return { id: found.Id, manifestDigest, configId, platform, listDigest };
  }
  return undefined;
}

/** What is pulled by the digest of a list has two: the other one is that of the manifest. */
function manifestOf(digest: string | undefined, digests: readonly string[], hash: string): string {
  if (digest !== undefined && digest !== hash) return digest;
  return digests.find((one) => one !== hash && digests.includes(hash)) ?? digest ?? digests[0] ?? '';
}

function failure(reason: string, message: string): RunFailure {
  return new RunFailure(reason, message, Fault.PLACE);
}

function notPulled(locator: string, why: string): RunFailure {
  return failure('IMAGE_NOT_PULLED', `the image ${quote(locator)} cannot be had here: ${why}`);
}

/** The error for a runtime whose command cannot be run. */
export function noRuntime({ name }: Pick<ImageRuntime, 'name'>, error: Error): RunFailure {
  return new RunFailure('NO_IMAGE_RUNTIME', `${name} cannot be run here: ${error.message}`, Fault.PLACE, runtimePlace);
}
