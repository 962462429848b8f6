import type { Position } from '../../eventstore/port.js';
import type { EventName } from './log-source.js';

/** What was done to a log. */
export type DamageKind =
  /** An event is not what it was. */
  | 'altered'
  /** Events are gone. */
  | 'dropped'
  /** Events at the end are gone. */
  | 'truncated'
  /** Events stand where there was none. */
  | 'inserted'
  /** An event stands at another place than it did. */
  | 'moved'
  /** An event is not what its store wrote, by the store's own checksum. */
  | 'checksum'
  /** An event cannot be read. */
  | 'unreadable'
  /** There is no event at a position that had one. */
  | 'missing'
  /** Something that is no part of the log stands in it. */
  | 'stray'
  /** A checkpoint in the log was not signed by the key that it names, or is none. */
  | 'forged'
  /** The log is not what a checkpoint says, and where it differs could not be found. */
  | 'somewhere';

/** One thing that was done to a log. */
export type Damage = {
  readonly kind: DamageKind;
  /** The first and last position that it is about: where the events are, or, if they are gone, were. */
  readonly from: Position;
  readonly to: Position;
  /** How many events it is about. */
  readonly count: number;
  /** Where an event that was moved is now. */
  readonly movedTo?: Position;
  /** The event that stands there. */
  readonly event?: EventName;
  /** Whether a checkpoint confirms the tree that says so; if not, the tree may be what is wrong. */
  readonly proven: boolean;
  /** More for people; may be empty. */
  readonly detail: string;
};
