import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Ran } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import { quote } from '../errors.js';

/** Why an attempt ended that does not state that it ran in its job's image. */
export const ranElsewhereReason = 'RAN_ELSEWHERE';

/**
 * Why a run was not in the image that its job names, for people; undefined if it was, or if the job names none. It was if it states the
 * job's locator, and what the image is known by is the digest of the manifest, or of the list that this was taken from, or the image's id.
 * @param hash what the image is registered by, "sha256:" and 64 hexadecimal digits; empty if that is not known: then the locator counts alone
 */
export function ranElsewhere(
  { dockerImageLocator }: Pick<Job, 'dockerImageLocator'>,
  ran: Ran | undefined,
  hash: string,
): string | undefined {
  if (dockerImageLocator === '') return undefined;
  const named = `the job names the image ${quote(dockerImageLocator)}`;
  const image = ran?.image;
  if (!image) return `${named}, and the worker does not state that it ran there`;
  if (image.locator !== dockerImageLocator) return `${named}, and the worker states ${quote(image.locator)}`;
  const digests = [image.manifestDigest, image.listDigest, image.configId];
  if (hash === '' || digests.includes(hash)) return undefined;
  const told = digests.filter((digest) => digest !== '').join(', ');
  return `${named}, which is known by ${hash}, and the worker states ${told}`;
}
