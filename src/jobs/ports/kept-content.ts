import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { MemoirError } from '../../domain/errors.js';

/** What use cases ask of the content that servers keep. */
export type KeptContent = {
  /** Whether the blob of a digest is there now; of a tree its root. @throws MemoirError UNAVAILABLE if that cannot be told */
  has(digest: Digest): Promise<boolean>;
  /** The error that says which other servers of the log keep content that is not here; undefined if none is known to. */
  elsewhere(digest: Digest): Promise<MemoirError | undefined>;
  /**
   * What stands at a path of a tree, links followed, as it would be given to a run; undefined if nothing does.
   * @throws MemoirError NOT_FOUND BLOB_NOT_FOUND if a directory on the way is gone; INVALID_ARGUMENT BAD_TREE, BAD_PATH
   */
  at(tree: Digest, path: string): Promise<{ readonly digest: Digest; readonly executable: boolean } | undefined>;
};
