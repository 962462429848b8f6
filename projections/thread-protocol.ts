import type { Position } from '../src/eventstore/port.js';

/** What the projection thread is started with. */
export type ThreadData = {
  /** URL of the event store, with its credentials. */
  readonly storeUrl: string;
  /** File of the read model. */
  readonly readModelPath: string;
};

/** What the projection thread says. */
export type ThreadMessage =
  | { readonly kind: 'opened'; readonly end: Position }
  | {
      readonly kind: 'applied';
      readonly position: Position;
      readonly live: boolean;
      /** Streams that the batch changed, without the answers of reuse; empty while the log's past is applied. */
      readonly streams: readonly string[];
      /** Whether the batch queued a job. */
      readonly queued: boolean;
      /** Whether the batch ordered or lifted an exclusion. */
      readonly excluded: boolean;
    }
  | { readonly kind: 'failed'; readonly message: string };
