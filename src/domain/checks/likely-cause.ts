import { DifferenceCause } from '../../../gen/memoir/jobs/v1/check_pb.js';

/** Some bytes of a file around the first one that differs. */
export type Excerpt = {
  readonly bytes: Uint8Array;
  /** Where in them the byte is that differs; their length if the file ends there. */
  readonly at: number;
  /** Where in the file they begin. */
  readonly offset: number;
};

/** How much of a file is looked at before the byte that differs, and from there on. */
export const excerptBytes = { before: 256, after: 256 };

const month = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*';

/** Dates, times of day, seconds and their fractions since 1970, and durations, as programs write them. */
const times: readonly RegExp[] = [
  /\d{4}-\d{2}-\d{2}(?:[T _]\d{2}[:.-]?\d{2}(?:[:.-]?\d{2}(?:[.,]\d+)?)?(?:Z| ?[+-]\d{2}:?\d{2})?)?/g,
  /\b\d{8}T?\d{4,6}Z?\b/g,
  /\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?\b/g,
  /\b\d{1,2}\/\d{1,2}\/\d{4}\b/g,
  new RegExp(
    `\\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?(?:${month} +\\d{1,2}|\\d{1,2}[ -]${month})\\b[^\\n]{0,24}`,
    'g',
  ),
  /\b1[0-9]{9}(?:[0-9]{3}|[0-9]{6}|[0-9]{9})?(?:\.\d+)?\b/g,
  /\b\d+(?:\.\d+)? ?(?:ns|us|µs|ms|s|sec|secs|seconds|min|minutes|h|hours)\b/g,
];

/** Absolute paths of two parts or more. */
const paths: readonly RegExp[] = [/(?:^|(?<=[\s"'=:([{<,;]))(?:\/[^\s/:"'<>|,;()[\]{}]+){2,}\/?/g];

/**
 * Why two files differ, as far as what stands around their first difference tells: the path of a file or a time, if that is what stands there in
 * both, in text or in the header of what gzip and zip made.
 */
export function likelyCause(one: Excerpt, other: Excerpt): DifferenceCause {
  if (inHeader(one) && inHeader(other)) return DifferenceCause.TIME;
  if (stands(paths, one) && stands(paths, other)) return DifferenceCause.PATH;
  if (stands(times, one) && stands(times, other)) return DifferenceCause.TIME;
  return DifferenceCause.UNSPECIFIED;
}

/** Whether something that a pattern matches takes in the byte that differs, in the line where that stands, or ends right before it. */
function stands(patterns: readonly RegExp[], { bytes, at }: Excerpt): boolean {
  // One character a byte, so that places are the same.
  const text = Buffer.from(bytes).toString('latin1');
  const begin = text.slice(0, at).lastIndexOf('\n') + 1;
  const end = text.indexOf('\n', at);
  const line = text.slice(begin, end < 0 ? text.length : end);
  const place = at - begin;
  return patterns.some((pattern) =>
    [...line.matchAll(pattern)].some(({ index, 0: match }) => index <= place && place <= index + match.length),
  );
}

/** Whether the byte is one of the time in the header of a gzip file, or of an entry of a zip archive. */
function inHeader({ bytes, at, offset }: Excerpt): boolean {
  const gzip = offset === 0 && bytes[0] === 0x1f && bytes[1] === 0x8b;
  if (gzip && at >= 4 && at < 8) return true;
  const local = Buffer.from(bytes).lastIndexOf('PK\x03\x04', at, 'latin1');
  const central = Buffer.from(bytes).lastIndexOf('PK\x01\x02', at, 'latin1');
  return (
    (local >= 0 && at - local >= 10 && at - local < 14) || (central >= 0 && at - central >= 12 && at - central < 16)
  );
}

/** Whether two texts have the same lines in another order. Both are equal in length then. */
export function isReordered(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  const lines = (bytes: Uint8Array) => {
    const all = Buffer.from(bytes).toString('latin1').split('\n');
    return all.length < 3 ? undefined : all.sort();
  };
  const [ours, theirs] = [lines(one), lines(other)];
  return ours !== undefined && ours.length === theirs?.length && ours.every((line, i) => line === theirs[i]);
}
