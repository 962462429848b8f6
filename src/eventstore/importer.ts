import type { EventLog, RecordedEvent } from './port.js';

/** A store that takes a log which was recorded elsewhere. */
export type LogImporter = {
  /** What the store holds already. */
  readonly log: EventLog;
  /** Whether events keep their positions; otherwise the store gives them new ones, in the same order. */
  readonly keepsPositions: boolean;
  /**
   * Checks an event of a log, one after the other from its beginning, before anything is recorded.
   * @throws Error saying why the store could not give it back as it is
   */
  check(event: RecordedEvent): void;
  /**
   * Records the next events of the log, as they are. When it resolves they are on disk; when it fails, the first of them may be.
   * @throws StoreUnavailable if the store cannot write now
   */
  record(events: readonly RecordedEvent[]): Promise<void>;
  /** Called when the log is whole. An embedded store is refused to servers between the first `record` and this. */
  finish(): Promise<void>;
  close(): Promise<void>;
};
