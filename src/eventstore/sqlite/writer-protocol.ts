import { quote } from '../../domain/errors.js';
import type { ExpectedRevision, NewEvent } from '../port.js';

/** What the writer thread is started with. */
export type WriterData = {
  /** File of the log. */
  readonly path: string;
};

/** One append of a batch. */
export type AppendRequest = {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  readonly events: readonly NewEvent[];
};

/** Appends that share one transaction, and so one fsync. */
export type BatchRequest = {
  /** Time to record, in milliseconds since 1970-01-01T00:00Z. */
  readonly recordedAt: number;
  readonly appends: readonly AppendRequest[];
};

/** What became of one append: where it ended, or the revision at which the stream was instead. */
export type AppendOutcome = { readonly revision: number; readonly position: number } | { readonly actual: number };

/** What the writer thread says. */
export type WriterMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'unreadable'; readonly message: string }
  | { readonly kind: 'done'; readonly outcomes: readonly AppendOutcome[] }
  | { readonly kind: 'failed'; readonly message: string }
  /** The batch was written into a file that has its name no more, as one that was removed: nobody will find it there. */
  | { readonly kind: 'replaced'; readonly message: string };

/** Name of the BroadcastChannel on which the writer says that the log at `path` has grown. */
export function commitChannel(path: string): string {
  return `memoir-log:${path}`;
}

/** What to say of a file of the log that has its name no more. */
export function replacedFile(path: string): string {
  return (
    `${quote(path)} was removed or exchanged while the server ran; what was written since then is in no file that has a name. ` +
    'Put the log back, or a copy, and start the server again'
  );
}
