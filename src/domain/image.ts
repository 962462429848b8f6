import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ImageForgotten,
  ImageForgottenSchema,
  type ImageRegistered,
  ImageRegisteredSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { type Image, ImageSchema } from '../../gen/memoir/images/v1/image_pb.js';
import { MemoirError, quote } from './errors.js';
import type { ImageFacts } from './image-name.js';

/** An event of the stream of a repository of images. */
export type ImageEvent = ImageRegistered | ImageForgotten;

/** What the stream of a repository tells of one image. */
export type KnownImage = {
  readonly hash: string;
  /** The registrations that hold, by tag; none if the image is forgotten. */
  readonly tags: ReadonlyMap<string, Registration>;
};

/** An image under one of its tags. */
export type Registration = {
  readonly image: Image;
  /** Revision of its event: of two, the one with the greater is the newer. */
  readonly revision: number;
};

/** The images of one repository as its stream tells them. */
export type ImageRepository = {
  /** Revision of the last event; -1 if there is none. */
  readonly revision: number;
  /** By locator. */
  readonly images: ReadonlyMap<string, KnownImage>;
};

/** A repository without events. */
export const noImagesYet: ImageRepository = { revision: -1, images: new Map() };

/** What can be asked of a repository of images. `now` is in milliseconds since 1970-01-01T00:00Z. */
export type ImageCommand =
  /** A client tells of an image. */
  | { readonly kind: 'register'; readonly image: ImageFacts; readonly now: number }
  /** A registry said that the image is what its tag names now. */
  | { readonly kind: 'observe'; readonly image: ImageFacts; readonly now: number }
  | { readonly kind: 'forget'; readonly locator: string; readonly reason: string; readonly now: number };

/** What a command makes of a repository: the events to record, none if it changes nothing, or why it is refused. Pure. */
export function decideImage(repository: ImageRepository, command: ImageCommand): readonly ImageEvent[] | MemoirError {
  switch (command.kind) {
    case 'register': {
      const { image, now } = command;
      const known = repository.images.get(image.locator);
      if (known && known.hash !== image.hash) return locatorTaken(image.locator, `the hash ${known.hash}`);
      return known?.tags.has(image.tag) ? [] : [registered(image, now)];
    }
    case 'observe': {
      const { image, now } = command;
      const known = repository.images.get(image.locator);
      if (known && known.tags.size === 0) return forgottenImage(image.locator);
      if (holderOf(repository, image.tag)?.image.locator === image.locator) return [];
      return [registered({ ...image, hash: known?.hash ?? image.hash }, now)];
    }
    case 'forget': {
      const { locator, reason, now } = command;
      const known = repository.images.get(locator);
      if (!known) return imageNotFound(locator);
      if (known.tags.size === 0) return [];
      return [create(ImageForgottenSchema, { locator, reason, forgottenAt: timestampFromMs(now) })];
    }
  }
}

/**
 * The repository after further events of its stream, the first of which has the revision after its own; undefined for each that is
 * passed over, or is gone.
 */
export function evolveImages(repository: ImageRepository, events: Iterable<ImageEvent | undefined>): ImageRepository {
  const images = new Map(repository.images);
  let { revision } = repository;
  for (const event of events) {
    revision += 1;
    if (!event) continue;
    if (event.$typeName === 'memoir.events.v1.ImageForgotten') {
      const known = images.get(event.locator);
      if (known) images.set(event.locator, { ...known, tags: new Map() });
    } else if (event.image) {
      const { image } = event;
      const tags = new Map(images.get(image.locator)?.tags).set(image.tag, { image, revision });
      images.set(image.locator, { hash: image.hash, tags });
    }
  }
  return { revision, images };
}

/** The newest registration under a tag that holds. */
export function holderOf({ images }: ImageRepository, tag: string): Registration | undefined {
  let newest: Registration | undefined;
  for (const { tags } of images.values()) {
    const registration = tags.get(tag);
    if (registration && registration.revision > (newest?.revision ?? -1)) newest = registration;
  }
  return newest;
}

/** The ALREADY_EXISTS for a locator that means another image. */
export function locatorTaken(locator: string, other: string): MemoirError {
  return new MemoirError(
    'ALREADY_EXISTS',
    'LOCATOR_TAKEN',
    `locator ${quote(locator)} is registered with ${other}; a locator means one image for ever`,
    { field: 'locator', metadata: { locator } },
  );
}

/** The NOT_FOUND for a locator that nobody ever registered. */
export function imageNotFound(locator: string): MemoirError {
  const message = `no image with the locator ${quote(locator)} is registered`;
  return new MemoirError('NOT_FOUND', 'IMAGE_NOT_FOUND', message, { field: 'locator' });
}

/** The refusal of an image that a registry names but that was forgotten here. */
export function forgottenImage(locator: string): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'IMAGE_FORGOTTEN',
    `image ${quote(locator)} was forgotten; it can be used again when it is registered again`,
    { metadata: { locator } },
  );
}

function registered(image: ImageFacts, now: number): ImageRegistered {
  const registeredAt = timestampFromMs(now);
  return create(ImageRegisteredSchema, { image: create(ImageSchema, { ...image, registeredAt }), registeredAt });
}
