import { invalid, quote } from '../domain/errors.js';
import type { Images } from './port.js';

/** The images of a server that was told of none: every name is unknown. */
export const noImages: Images = {
  async resolve(dockerImage, _tag, field) {
    throw invalid(
      `${field}.docker_image`,
      'UNKNOWN_IMAGE',
      `docker_image ${quote(dockerImage)} is not a registered image`,
    );
  },
};
