import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';

/** What a look at the output and log of a complete job found. */
export type LookedAt =
  /** All of it is there, or it is not the servers' own. */
  | 'there'
  /** It could not be looked up, and that is answered all the same. */
  | 'unchecked'
  /** That it is lost is recorded now. */
  | 'lost'
  /** It is lost, which was not to be recorded; for people. */
  | { readonly detail: string };

/** The output and log of complete jobs as decisions look at them. */
export type DecidingContent = {
  /**
   * Looks whether all of a complete job's output and log is there, and holds it for a day; undefined if that is so, or it is not the servers' own,
   * and nothing has to be waited for.
   * @param recording - whether a loss may be recorded
   * @throws MemoirError UNAVAILABLE CONTENT_UNAVAILABLE where that cannot be told, and may not be left open
   */
  look(job: Job, recording: boolean): Promise<LookedAt> | undefined;
  /** Looks whether what was lost of a job is there after all, and records that. @returns whether it was recorded now */
  foundAgain(job: Job): Promise<boolean>;
};
