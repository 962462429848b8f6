import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  ForgetImageResponseSchema,
  type ImagesService,
  ListImagesResponseSchema,
  RegisterImageResponseSchema,
  ResolveImageResponseSchema,
} from '../../gen/memoir/images/v1/images_service_pb.js';
import { type ImageRow, imageFromRow } from '../../projections/read-model/images.js';
import { invalid, MemoirError, quote } from '../domain/errors.js';
import { checkImage, checkRepository, imageSearch, withTag } from '../domain/image-name.js';
import type { ImageParts } from '../images/open.js';
import type { JobsContext } from '../jobs/context.js';
import { checkLength, checkRequired, textLimits } from '../jobs/limits.js';
import type { CallContext } from './call.js';
import type { Implementation } from './service.js';
import { checkPageSize, pageTokenOf, readPageToken, seeOwn, seeToken, tokenOf } from './tokens.js';

/** memoir.images.v1.ImagesService. */
export function imagesService(
  { store, readModel, written }: Pick<JobsContext, 'store' | 'readModel' | 'written'>,
  { catalogue, lookup }: ImageParts,
): Implementation<typeof ImagesService> {
  const see = (token: string, call: CallContext) => seeToken(token, store, readModel, call);

  return {
    async registerImage({ hash, repository, tag, locator }, { caller }) {
      const registered = await catalogue.register(caller, checkImage({ hash, repository, tag, locator }));
      const { image, position } = registered;
      return create(RegisterImageResponseSchema, { image, consistencyToken: tokenOf(readModel, position) });
    },

    async listImages({ repository, pageSize, pageToken, consistencyToken, includeForgotten }, call) {
      if (repository !== '') checkRepository('repository', repository);
      const limit = checkPageSize(pageSize);
      const [before = Number.MAX_SAFE_INTEGER] = readPageToken(readModel, pageToken, 1) ?? [];
      await see(consistencyToken, call);
      const completeUpTo = await seeOwn(written, readModel, call);
      const rows = readModel.images.page({ repository, includeForgotten, before, limit: limit + 1 });
      const images = rows.slice(0, limit);
      const last = rows.length > limit ? images.at(-1) : undefined;
      return create(ListImagesResponseSchema, {
        images: images.map(listed),
        nextPageToken: last ? pageTokenOf(readModel, [last.position]) : '',
        completeUpTo,
      });
    },

    async forgetImage({ locator, reason }, { caller }) {
      checkRequired('locator', locator, textLimits.image);
      checkLength('reason', reason, textLimits.reason);
      const position = await catalogue.forget(caller, locator, reason);
      return create(ForgetImageResponseSchema, { consistencyToken: tokenOf(readModel, position) });
    },

    async resolveImage({ dockerImage, dockerImageTag, consistencyToken }, call) {
      checkRequired('docker_image', dockerImage, textLimits.image);
      const search = imageSearch(dockerImage);
      if (!search) {
        throw invalid('docker_image', 'BAD_IMAGE', `docker_image ${quote(dockerImage)} cannot name an image`);
      }
      const wanted = withTag(search, dockerImageTag, 'docker_image_tag');
      await see(consistencyToken, call);
      const image = await lookup(wanted, { record: false });
      if (image) return create(ResolveImageResponseSchema, { image });
      const withTagText = dockerImageTag === '' ? '' : ` with tag ${quote(dockerImageTag)}`;
      const message = `docker_image ${quote(dockerImage)}${withTagText} names no registered image`;
      throw new MemoirError('NOT_FOUND', 'UNKNOWN_IMAGE', message, { field: 'docker_image' });
    },
  };
}

function listed(row: ImageRow) {
  const { forgotten_at: forgottenAt } = row;
  return { image: imageFromRow(row), ...(forgottenAt !== null && { forgottenAt: timestampFromMs(forgottenAt) }) };
}
