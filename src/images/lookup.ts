import { create } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { type Image, ImageSchema } from '../../gen/memoir/images/v1/image_pb.js';
import { imageFromRow } from '../../projections/read-model/images.js';
import { MemoirError, quote } from '../domain/errors.js';
import { forgottenImage } from '../domain/image.js';
import type { ImageSearch } from '../domain/image-name.js';
import { serverItself } from '../jobs/caller.js';
import type { Catalogue } from './catalogue.js';
import { type ImagesContext, imagesKey } from './context.js';
import { type Registries, type Registry, RegistryProblem } from './registry/port.js';

/** What a lookup is told beside its search. */
export type LookupOptions = {
  /** Whether to register what a registry says. */
  readonly record: boolean;
};

/**
 * The image that a search names now: what the registry says that is configured for its repository, else the newest that is
 * registered; undefined if there is none.
 * @throws MemoirError FAILED_PRECONDITION IMAGE_FORGOTTEN if the registry names an image that was forgotten; UNAVAILABLE
 * REGISTRY_UNAVAILABLE if the registry cannot be asked, and is needed or nothing else matches
 */
export type Lookup = (search: ImageSearch, options: LookupOptions) => Promise<Image | undefined>;

/** Looks up among the registered images and in the registries. */
export function imageLookup(
  context: ImagesContext,
  catalogue: Catalogue,
  registries: Registries,
  logger: Logger,
): Lookup {
  const { readModel, written, edge } = context;
  const { images } = readModel;

  async function newest(search: ImageSearch): Promise<Image | undefined> {
    await written.seen(imagesKey);
    const row = images.newest(search);
    return row && imageFromRow(row);
  }

  return async (search, { record }) => {
    const registered = await newest(search);
    const question = questionOf(search, registries);
    // What a digest names never changes.
    if (!question || (registered && search.hash !== undefined)) return registered;
    try {
      return (await observed(search, question, record)) ?? registered;
    } catch (error) {
      if (!(error instanceof RegistryProblem)) throw error;
      const { registry, repository, reference } = question;
      const about = { registry: registry.name, repository, reference };
      if (registered && !registry.needed) {
        logger.warn({ ...about, err: error }, 'the registry cannot be asked; the newest registered image is taken');
        return registered;
      }
      throw new MemoirError(
        'UNAVAILABLE',
        'REGISTRY_UNAVAILABLE',
        `the registry of ${quote(registry.name)} cannot be asked for image ${quote(search.locator)}: ${error.message}`,
        { metadata: { registry: registry.name }, cause: error },
      );
    }
  };

  /** The image that the registry names, registered if that is wanted. */
  async function observed(search: ImageSearch, question: Question, record: boolean): Promise<Image | undefined> {
    const { registry, repository, reference } = question;
    const found = await registry.ask(repository, reference);
    if (!found) return undefined;
    await written.seen(imagesKey);
    const known = images.byLocator(found.locator);
    if (known.length > 0 && known.every(({ forgotten_at }) => forgotten_at !== null))
      throw forgottenImage(found.locator);
    const tag = search.tag ?? '';
    const holder = images.newest({ locator: search.locator, repository, tag });
    if (holder?.locator === found.locator) return imageFromRow(holder);
    const facts = { ...found, repository, tag };
    if (record) await register(facts);
    const row = images.byLocator(found.locator).find((one) => one.tag === tag);
    return row ? imageFromRow(row) : create(ImageSchema, facts);
  }

  async function register(facts: Parameters<Catalogue['observe']>[1]): Promise<void> {
    try {
      await catalogue.observe(serverItself(edge), facts);
      await written.seen(imagesKey);
    } catch (error) {
      // The same image is registered under another name of its repository; the log has it already.
      if (!(error instanceof MemoirError && error.reason === 'LOCATOR_TAKEN')) throw error;
    }
  }
}

type Question = { readonly registry: Registry; readonly repository: string; readonly reference: string };

/** What to ask which registry; undefined if there is none, or no one tag or digest of one repository is named. */
function questionOf({ repository, tag, hash }: ImageSearch, registries: Registries): Question | undefined {
  const reference = tag ?? hash;
  if (repository === undefined || reference === undefined || (tag !== undefined && hash !== undefined))
    return undefined;
  const registry = registries.of(repository);
  return registry && { registry, repository, reference };
}
