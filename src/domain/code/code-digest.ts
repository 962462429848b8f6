import { jcsDigest } from '../computation.js';

/** What a commit has at one of its paths. */
export type CodeEntry = {
  /** A normal code path. */
  readonly path: string;
  /** Mode as git has it, in six digits: 040000, 100644, 100755, 120000 or 160000. */
  readonly mode: string;
  /** Id of the object, in lower-case hexadecimal digits. */
  readonly oid: string;
};

/** What commits have at some paths, one entry for each path in the order of their bytes. */
export type Code = {
  /** How the repository names its objects, as git spells it. */
  readonly objectFormat: 'sha1' | 'sha256';
  readonly entries: readonly CodeEntry[];
};

/**
 * Identity of code, in 64 hexadecimal digits: SHA-256 of the RFC 8785 form of
 * `{"format":1,"object_format":"sha1","entries":[["path","mode","oid"],…]}`. Fixed for ever.
 */
export function codeDigest({ objectFormat, entries }: Code): string {
  return jcsDigest({
    format: 1,
    object_format: objectFormat,
    entries: entries.map(({ path, mode, oid }) => [path, mode, oid]),
  });
}
