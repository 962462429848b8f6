import type { KeptCommit } from '../port.js';
import type { SentError } from '../reader/reader-protocol.js';
import type { ToKeep } from './keep-commit.js';

/** What the thread that keeps commits is told. */
export type KeepRequest =
  | { readonly kind: 'keep'; readonly number: number; readonly what: ToKeep }
  | { readonly kind: 'cancel'; readonly number: number }
  | { readonly kind: 'close' };

/** What it answers. */
export type KeepReply = { readonly number: number; readonly kept?: KeptCommit; readonly error?: SentError };
