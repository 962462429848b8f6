import type { Image } from '../../gen/memoir/images/v1/image_pb.js';
import { MemoirError } from '../domain/errors.js';
import { imageNotFound, locatorTaken } from '../domain/image.js';
import type { ImageFacts } from '../domain/image-name.js';
import type { Position } from '../eventstore/port.js';
import type { Caller } from '../jobs/caller.js';
import { keyedLock } from '../jobs/keyed-lock.js';
import { denied } from '../jobs/reading/permit.js';
import type { ImagesContext } from './context.js';
import { imageStreams } from './image-streams.js';

/** An image that is registered, and where in the log that can be seen. */
export type Registered = { readonly image: Image; readonly position: Position };

/** What changes the registered images. Images are checked by `checkImage` before. */
export type Catalogue = {
  /**
   * Registers an image as a client tells of it; the same again changes nothing.
   * @throws MemoirError ALREADY_EXISTS LOCATOR_TAKEN if the locator means another image; PERMISSION_DENIED unless the caller
   * administers every repository
   */
  register(caller: Caller, image: ImageFacts): Promise<Registered>;
  /**
   * Registers what a registry says that the image's tag names now, so that it is the newest of the tag.
   * @throws MemoirError as `register`; FAILED_PRECONDITION IMAGE_FORGOTTEN
   */
  observe(caller: Caller, image: ImageFacts): Promise<void>;
  /**
   * Forgets an image under all its tags; one that is forgotten already stays so.
   * @throws MemoirError NOT_FOUND IMAGE_NOT_FOUND; PERMISSION_DENIED as `register`
   */
  forget(caller: Caller, locator: string, reason: string): Promise<Position>;
};

/** The catalogue of a server. */
export function openCatalogue(context: ImagesContext): Catalogue {
  const { store, readModel, written, edge } = context;
  const execute = imageStreams(context);
  const serially = keyedLock();

  /** Name of the repository that has the locator, by everything that is in the log now. */
  async function repositoryOf(locator: string): Promise<string | undefined> {
    await written.catchUp(await store.end());
    return readModel.images.byLocator(locator)[0]?.repository;
  }

  async function add(caller: Caller, kind: 'register' | 'observe', image: ImageFacts) {
    const { locator, repository } = image;
    const command = { kind, image, now: edge.now() } as const;
    return serially(locator, async () => {
      await checkOwner(locator, repository);
      const executed = await execute(caller, repository, command);
      // Another server may have registered the locator in another repository at the same moment: the first in the log has it.
      if (executed.changed && !store.exclusive) await checkOwner(locator, repository);
      return executed;
    });
  }

  async function checkOwner(locator: string, repository: string): Promise<void> {
    const owner = (await repositoryOf(locator)) ?? repository;
    if (owner !== repository) throw locatorTaken(locator, `the repository ${JSON.stringify(owner)}`);
  }

  return {
    async register(caller, image) {
      if (!caller.access.administersAll) throw denied(caller, 'register docker images');
      const { repository, position } = await add(caller, 'register', image);
      const registration = repository.images.get(image.locator)?.tags.get(image.tag);
      if (registration) return { image: registration.image, position };
      throw new MemoirError('INTERNAL', 'NOT_REGISTERED', `image ${image.locator} is not in its stream`);
    },
    async observe(caller, image) {
      await add(caller, 'observe', image);
    },
    async forget(caller, locator, reason) {
      if (!caller.access.administersAll) throw denied(caller, 'forget docker images');
      const repository = await repositoryOf(locator);
      if (repository === undefined) throw imageNotFound(locator);
      const { position } = await execute(caller, repository, { kind: 'forget', locator, reason, now: edge.now() });
      return position;
    },
  };
}
