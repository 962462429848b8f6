import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import type { Ran, RanImage, RanPhases } from '../../../gen/memoir/jobs/v1/ran_pb.js';
import { bytesText } from './bytes-text.js';
import { printable } from './printable.js';
import { span } from './time-text.js';

/** What an attempt ran in: `the image X (manifest …, linux/amd64) by podman 4.3.1`, `the sandbox bubblewrap`; empty if its worker did not say. */
export function ranInText({ image, runtime, runtimeVersion, sandbox }: Ran): string {
  if (image)
    return `the image ${imageText(image)}${runtime && ` by ${printable(`${runtime} ${runtimeVersion}`.trimEnd())}`}`;
  return sandbox === '' ? '' : `the sandbox ${printable(sandbox)}`;
}

function imageText({ locator, manifestDigest, configId, platform }: RanImage): string {
  const known = [
    ...(manifestDigest && !locator.endsWith(manifestDigest) ? [`manifest ${manifestDigest}`] : []),
    ...(configId ? [`id ${configId}`] : []),
    ...(platform ? [platform] : []),
  ];
  return `${printable(locator)}${known.length === 0 ? '' : printable(` (${known.join(', ')})`)}`;
}

/** What an attempt took: memory, time of processors, bytes. */
export function ranTookText({ peakRamBytes, cpuTime, stagedBytes, storedBytes }: Ran): string {
  return [
    ...(peakRamBytes === undefined ? [] : [`${bytesText(peakRamBytes)} of memory`]),
    ...(cpuTime ? [`${span(durationMs(cpuTime))} of processors`] : []),
    ...(stagedBytes > 0n ? [`${bytesText(stagedBytes)} staged`] : []),
    ...(storedBytes > 0n ? [`${bytesText(storedBytes)} stored`] : []),
  ].join(', ');
}

/** How long its parts took. */
export function phasesText({ staged, started, ran, stored }: RanPhases): string {
  const parts: [string, Duration | undefined][] = [
    ['staged in', staged],
    ['started in', started],
    ['ran for', ran],
    ['stored in', stored],
  ];
  return parts.flatMap(([what, time]) => (time ? [`${what} ${span(durationMs(time))}`] : [])).join(', ');
}
