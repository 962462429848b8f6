import type { Duration } from '@bufbuild/protobuf/wkt';
import type { Ran, RanImage } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import { invalid, quote } from '../../domain/errors.js';
import { imageHash } from '../../domain/image-name.js';
import { checkDuration } from '../check-duration.js';
import { checkLength, checkRequired, textLimits } from '../limits.js';

const word = 64;
const name = 128;

/**
 * Checks what a worker says of what an attempt ran in.
 * @throws MemoirError INVALID_ARGUMENT naming the field and its value
 */
export function checkRan({ image, runtime, runtimeVersion, sandbox, cpuTime, phases }: Ran): void {
  checkLength('ran.runtime', runtime, word);
  checkLength('ran.runtime_version', runtimeVersion, name);
  checkLength('ran.sandbox', sandbox, word);
  checkTime('ran.cpu_time', cpuTime);
  checkTime('ran.phases.staged', phases?.staged);
  checkTime('ran.phases.started', phases?.started);
  checkTime('ran.phases.ran', phases?.ran);
  checkTime('ran.phases.stored', phases?.stored);
  if (image) checkImage(image);
}

function checkImage({ locator, manifestDigest, configId, listDigest, platform }: RanImage): void {
  checkRequired('ran.image.locator', locator, textLimits.image);
  if (manifestDigest === '' && configId === '') {
    throw invalid(
      'ran.image.manifest_digest',
      'REQUIRED',
      'ran.image.manifest_digest or ran.image.config_id is required',
    );
  }
  checkDigest('ran.image.manifest_digest', manifestDigest);
  checkDigest('ran.image.config_id', configId);
  checkDigest('ran.image.list_digest', listDigest);
  checkLength('ran.image.platform', platform, name);
}

function checkDigest(field: string, text: string): void {
  if (text === '' || imageHash(text) === text) return;
  throw invalid(field, 'BAD_HASH', `${field} ${quote(text)} is not "sha256:" and 64 lower-case hexadecimal digits`);
}

function checkTime(field: string, time: Duration | undefined): void {
  if (time) checkDuration(field, time, { least: 0, most: Number.POSITIVE_INFINITY });
}
