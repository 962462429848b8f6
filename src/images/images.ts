import { invalid, MemoirError, quote } from '../domain/errors.js';
import { imageSearch, withTag } from '../domain/image-name.js';
import { type ImagesContext, imagesKey } from './context.js';
import type { Lookup } from './lookup.js';
import type { Images } from './port.js';

/** What the images of a server are made of. */
export type ImagesParts = {
  readonly context: ImagesContext;
  readonly lookup: Lookup;
  /** Name of the image for jobs that name none; undefined for none. */
  readonly defaultImage?: string | undefined;
};

/** The images as the rest of Memoir sees them. */
export function openImages(parts: ImagesParts): Images {
  return { ...imagesOf(parts, true), unrecorded: unrecorded(parts) };
}

function unrecorded(parts: ImagesParts): Images {
  const images: Images = {
    ...imagesOf(parts, false),
    get unrecorded() {
      return images;
    },
  };
  return images;
}

function imagesOf({ context, lookup, defaultImage }: ImagesParts, record: boolean): Omit<Images, 'unrecorded'> {
  const { readModel, written } = context;

  async function resolveDefault(name: string) {
    const search = imageSearch(name);
    const image = search && (await lookup(search, { record }));
    if (image) return { name, locator: image.locator };
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'UNKNOWN_DEFAULT_IMAGE',
      `the job names no docker_image, and the server's default_docker_image ${quote(name)} names no registered image`,
    );
  }

  return {
    async resolve(dockerImage, tag, field) {
      const search = imageSearch(dockerImage);
      if (!search) throw unknown(field, dockerImage, tag, 'is no hash, repository or repository:tag');
      const image = await lookup(withTag(search, tag, `${field}.docker_image_tag`), { record });
      if (image) return image.locator;
      throw unknown(field, dockerImage, tag, 'names no registered image');
    },
    default: () => (defaultImage === undefined ? undefined : resolveDefault(defaultImage)),
    async locators(text) {
      const search = imageSearch(text);
      if (!search) return new Set();
      await written.seen(imagesKey);
      return readModel.images.locators(search);
    },
  };
}

function unknown(field: string, dockerImage: string, tag: string, why: string): MemoirError {
  const tagText = tag === '' ? '' : ` with tag ${quote(tag)}`;
  return invalid(`${field}.docker_image`, 'UNKNOWN_IMAGE', `docker_image ${quote(dockerImage)}${tagText} ${why}`);
}
