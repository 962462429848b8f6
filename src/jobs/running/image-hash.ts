import { imageSearch } from '../../domain/image-name.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';

/**
 * The hash of the image that a job names: what that is registered by, else what its locator ends with; empty if it names none, or if neither
 * tells.
 */
export async function imageHashOfJob(
  { readModel, streams }: Pick<JobsContext, 'readModel' | 'streams'>,
  caller: Caller,
  uuid: string,
): Promise<string> {
  // What a job names never changes, so that the read model is not asked whether it is at the end of the log.
  const row = readModel.jobs.get(uuid);
  const locator =
    row?.docker_image_locator ?? (await streams.loadFor(caller, uuid, 'complete'))?.job.dockerImageLocator ?? '';
  if (locator === '') return '';
  return readModel.images.byLocator(locator)[0]?.hash ?? imageSearch(locator)?.hash ?? '';
}
