import type { HttpLimits } from './mirror-http.js';
import type { RemoteRules } from './remote-rules.js';

/** What a fetching thread is told. */
export type MirrorThreadData = {
  readonly name: string;
  readonly url: string;
  /** Directory of the mirror: `fetched.git`, where objects arrive, and `served.git`, whose refs move only once they are whole. */
  readonly directory: string;
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  readonly rules: RemoteRules;
  readonly limits: HttpLimits;
};

/** What a fetching thread says in the end. */
export type MirrorThreadMessage =
  | { readonly kind: 'fetched'; readonly refs: number }
  | { readonly kind: 'failed'; readonly problem: string };
