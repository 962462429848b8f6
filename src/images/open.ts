import type { Logger } from 'pino';
import type { RegistryConfig } from '../config/registries.js';
import type { Images } from '../jobs/ports/images.js';
import { type Catalogue, openCatalogue } from './catalogue.js';
import type { ImagesContext } from './context.js';
import { openImages } from './images.js';
import { imageLookup, type Lookup } from './lookup.js';
import { openRegistries } from './registry/registries.js';

/** Settings that concern images. */
export type ImageSettings = {
  readonly registries: Readonly<Record<string, RegistryConfig>>;
  readonly default_docker_image?: string | undefined;
};

/** Everything of images in one server. */
export type ImageParts = { readonly images: Images; readonly catalogue: Catalogue; readonly lookup: Lookup };

/** Puts the images of a server together. */
export function openImageParts(context: ImagesContext, settings: ImageSettings, logger: Logger): ImageParts {
  const catalogue = openCatalogue(context);
  const registries = openRegistries(settings.registries, context.edge);
  const lookup = imageLookup(context, catalogue, registries, logger);
  const images = openImages({ context, lookup, defaultImage: settings.default_docker_image });
  return { images, catalogue, lookup };
}
