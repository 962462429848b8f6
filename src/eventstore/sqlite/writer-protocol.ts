import { quote } from '../../domain/errors.js';
import type { SentError } from '../../threads/sent-error.js';
import type { ExpectedRevision, NewEvent } from '../port.js';

// The writer does not use the channel of src/threads: messages go to and fro for each commit, for which the channel computes some 20 µs
// longer. That is 11 % of what appends one at a time compute, and 3 % with 256 in flight (medians of 80 and 60 rounds, in turns with the
// writer as it is). Errors are sent as there, with their classes and causes, and the end of the thread is told to all who wait.

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
  readonly appends: PackedAppends;
};

/**
 * Appends as they are sent: what is of one kind in one list, since an object for each, with the names of its fields, takes twice as long to copy. Each has as
 * many events as `counts` says, and each event four of the `texts`: id, type, data and metadata.
 */
export type PackedAppends = {
  readonly streams: readonly string[];
  readonly expected: readonly ExpectedRevision[];
  readonly counts: readonly number[];
  readonly texts: readonly string[];
};

/** Packs appends to be sent. */
export function packAppends(appends: readonly AppendRequest[]): PackedAppends {
  const texts: string[] = [];
  for (const { events } of appends)
    for (const { id, type, data, metadata } of events) texts.push(id, type, data, metadata);
  return {
    streams: appends.map(({ stream }) => stream),
    expected: appends.map(({ expected }) => expected),
    counts: appends.map(({ events }) => events.length),
    texts,
  };
}

/** The appends that were packed. */
export function unpackAppends({ streams, expected, counts, texts }: PackedAppends): AppendRequest[] {
  let at = 0;
  return streams.map((stream, i) => {
    const events: NewEvent[] = [];
    for (const end = at + 4 * (counts[i] as number); at < end; at += 4) {
      const [id, type, data, metadata] = [texts[at], texts[at + 1], texts[at + 2], texts[at + 3]] as string[];
      events.push({ id, type, data, metadata } as NewEvent);
    }
    return { stream, expected: expected[i] as ExpectedRevision, events };
  });
}

/** What became of one append: where it ended, or the revision at which the stream was instead. */
export type AppendOutcome = { readonly revision: number; readonly position: number } | { readonly actual: number };

/** What the writer thread says. */
export type WriterMessage =
  | { readonly kind: 'ready' }
  /** The log cannot be opened. */
  | { readonly kind: 'unopened'; readonly error: SentError }
  | { readonly kind: 'done'; readonly outcomes: readonly AppendOutcome[] }
  /** Nothing of the batch was written. */
  | { readonly kind: 'failed'; readonly error: SentError }
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
