import type { Position } from '../../src/eventstore/port.js';
import type { ProjectionSet } from '../all.js';

/** What a projection thread is started with. */
export type ThreadData = {
  /** URL of the event store, with its credentials. */
  readonly storeUrl: string;
  /** File that the projections are kept in. */
  readonly path: string;
  /** Which projections. */
  readonly keeps: ProjectionSet;
};

/** What one committed batch brought. */
export type Applied = {
  readonly kind: 'applied';
  readonly position: Position;
  readonly live: boolean;
  /** Streams that the batch changed, without the answers of reuse; empty while the log's past is applied. */
  readonly streams: readonly string[];
  /** Whether the batch queued a job. */
  readonly queued: boolean;
  /** Whether the batch ordered or lifted an exclusion. */
  readonly excluded: boolean;
};

/** What a projection thread says. */
export type ThreadMessage =
  | { readonly kind: 'opened'; readonly end: Position }
  | Applied
  /** What has just been tried did not work, and is tried again. */
  | { readonly kind: 'failed'; readonly message: string }
  /** The file is found damaged: nothing may be told of it any more. */
  | { readonly kind: 'unsound' }
  /** The file is made anew from the log, and was opened: what was read from the old one must be read again. */
  | { readonly kind: 'remade'; readonly why: string }
  /** The log is one that the process must not go on with; the thread follows it no more. */
  | { readonly kind: 'refused'; readonly reason: string; readonly message: string };

/** What a projection thread is told: to end, or that a reader met damage in its file. */
export type ThreadOrder = { readonly kind: 'stop' } | { readonly kind: 'damaged'; readonly why: string };
