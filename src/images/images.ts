import { invalid, MemoirError, quote } from '../domain/errors.js';
import { type ImageSearch, imageSearch, imageSetSearch, withTag } from '../domain/image-name.js';
import type { Images, RegisteredImages } from '../jobs/ports/images.js';
import { type ImagesContext, imagesKey } from './context.js';
import type { Lookup } from './lookup.js';

/** What the images of a server are made of. */
export type ImagesParts = {
  readonly context: ImagesContext;
  readonly lookup: Lookup;
  /** Name of the image for jobs that name none; undefined for none. */
  readonly defaultImage?: string | undefined;
};

/** Where images are looked up. */
type Source = {
  readonly lookup: (search: ImageSearch) => Promise<{ readonly locator: string } | undefined>;
  readonly locators: (search: ImageSearch) => Promise<ReadonlySet<string>>;
};

/** The images as the rest of Memoir sees them. */
export function openImages({ context: { readModel, written }, lookup, defaultImage }: ImagesParts): Images {
  const locators = async (search: ImageSearch) => {
    await written.seen(imagesKey);
    return readModel.images.locators(search);
  };
  const recording = (record: boolean) =>
    imagesOf({ lookup: (search) => lookup(search, { record }), locators }, defaultImage);
  const among = (registered: RegisteredImages) => {
    const source: Source = {
      lookup: async (search) => registered.newest(search),
      locators: async (search) => registered.locators(search),
    };
    return leavingNoTrace(imagesOf(source, defaultImage), among);
  };
  return { ...recording(true), unrecorded: leavingNoTrace(recording(false), among), among };
}

type Resolving = Omit<Images, 'unrecorded' | 'among'>;

function leavingNoTrace(resolving: Resolving, among: Images['among']): Images {
  const images: Images = {
    ...resolving,
    among,
    get unrecorded() {
      return images;
    },
  };
  return images;
}

function imagesOf({ lookup, locators }: Source, defaultImage: string | undefined): Resolving {
  /** A name without a tag means the tag "latest", as for docker; where there is none, any. */
  async function named(search: ImageSearch) {
    const open = search.repository !== undefined && search.tag === undefined && search.hash === undefined;
    return (open ? await lookup({ ...search, tag: 'latest' }) : undefined) ?? lookup(search);
  }

  async function resolveDefault(name: string) {
    const search = imageSearch(name);
    const image = search && (await named(search));
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
      const image = await named(withTag(search, tag, `${field}.docker_image_tag`));
      if (image) return image.locator;
      throw unknown(field, dockerImage, tag, 'names no registered image');
    },
    default: () => (defaultImage === undefined ? undefined : resolveDefault(defaultImage)),
    async locators(text) {
      const search = imageSetSearch(text);
      return search ? locators(search) : new Set();
    },
  };
}

function unknown(field: string, dockerImage: string, tag: string, why: string): MemoirError {
  const tagText = tag === '' ? '' : ` with tag ${quote(tag)}`;
  return invalid(`${field}.docker_image`, 'UNKNOWN_IMAGE', `docker_image ${quote(dockerImage)}${tagText} ${why}`);
}
