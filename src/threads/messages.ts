import type { SentError } from './sent-error.js';

/** What a thread is sent. */
export type ToThread =
  | { readonly kind: 'ask'; readonly number: number; readonly method: string; readonly ask: unknown }
  | { readonly kind: 'abort'; readonly number: number }
  | { readonly kind: 'close' };

/** What a thread sends. */
export type FromThread =
  | { readonly kind: 'opened' }
  /** It could not begin, and ends. */
  | { readonly kind: 'unopened'; readonly error: SentError }
  | { readonly kind: 'told'; readonly number: number; readonly told: unknown }
  | { readonly kind: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly kind: 'failed'; readonly number: number; readonly error: SentError }
  /** It broke off because it was to. */
  | { readonly kind: 'aborted'; readonly number: number }
  /** What nobody caught, of which it ends. */
  | { readonly kind: 'died'; readonly error: SentError };
