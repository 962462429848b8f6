import type { ErrorCode } from '../../domain/errors.js';
import type { Layout } from '../layout.js';
import type { ObjectType } from '../objects/object.js';
import type { Peeled } from './object-reader.js';
import type { MessageFound, MessageSearch } from './search-messages.js';

/** A commit of a walk. */
export type WalkedCommit = { readonly id: string; readonly parents: readonly string[]; readonly date: number };

/** What can be asked of the reader's thread, and what it answers. */
export type Questions = {
  peel: { ask: { id: string }; answer: Peeled | undefined };
  typeOf: { ask: { id: string }; answer: ObjectType | undefined };
  parents: { ask: { id: string }; answer: readonly string[] };
  /** The n-th first parent; undefined where history ends before. */
  ancestor: { ask: { id: string; generations: number }; answer: string | undefined };
  abbreviated: { ask: { prefix: string }; answer: readonly string[] };
  /** Without starts, from all refs. */
  search: { ask: Omit<MessageSearch, 'starts'> & { starts: readonly string[] | undefined }; answer: MessageFound };
  /** Commits from the given ones on, breadth first, at most `limit` of them. */
  walk: { ask: { starts: readonly string[]; limit: number }; answer: readonly WalkedCommit[] };
  /** See `isPlainCommit`. */
  plain: { ask: { commit: string }; answer: boolean | undefined };
};

export type Question = keyof Questions;

/** A request to the thread. */
export type ReaderRequest =
  | { [Q in Question]: { number: number; layout: Layout; question: Q; ask: Questions[Q]['ask'] } }[Question]
  | 'close';

/** An error that goes from thread to thread. */
export type SentError = {
  readonly message: string;
  /** Absent if it was not a MemoirError. */
  readonly memoir?: { code: ErrorCode; reason: string; metadata: Readonly<Record<string, string>> };
};

/** An answer of the thread. */
export type ReaderReply = { readonly number: number; readonly answer?: unknown; readonly error?: SentError };
