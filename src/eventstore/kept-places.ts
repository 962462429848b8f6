import { quote } from '../domain/errors.js';
import { type EventLog, LogRefused, type Position, start } from './port.js';

/** How far the log was, as something says that is kept beside it. */
export type KeptPlace = {
  /** What says so, for people, such as "the read model". */
  readonly what: string;
  readonly position: Position;
  /** Id of the event there. */
  readonly eventId: string;
};

/** That a log is not what the kept places say that it was. */
export type Contradiction = {
  /** "shorter" if it ends before a kept place and nothing else is wrong; "other" if another event stands where a known one was. */
  readonly kind: 'shorter' | 'other';
  /** The farthest place that the log does not have. */
  readonly known: KeptPlace;
  /** The last event of the log; undefined if it has none. */
  readonly found: { readonly position: Position; readonly eventId: string } | undefined;
};

/**
 * Compares a log of any store with the places that are kept beside it: at each, the event that is named must stand there still.
 * @returns undefined if it does
 */
export async function compareWithKept(log: EventLog, places: readonly KeptPlace[]): Promise<Contradiction | undefined> {
  const end = await log.end();
  let known: KeptPlace | undefined;
  let other = false;
  for (const place of places) {
    if (place.position === start) continue;
    const there = place.position <= end && (await log.eventAt(place.position))?.id === place.eventId;
    if (there) continue;
    other ||= place.position <= end;
    if (!known || place.position > known.position) known = place;
  }
  if (!known) return undefined;
  let found: Contradiction['found'];
  for await (const { position, id } of log.readAll(undefined, { direction: 'backwards', limit: 1 })) {
    found = { position, eventId: id };
  }
  return { kind: other ? 'other' : 'shorter', known, found };
}

/** The refusal of a log that is not what was known of it. `name` is the log's, `choices` what an operator can do. */
export function contradicted(name: string, { kind, known, found }: Contradiction, choices: string): LogRefused {
  const has = found ? `ends at position ${found.position}` : 'has no event';
  const knows = `${known.what} knows it up to position ${known.position} (event ${known.eventId})`;
  if (kind === 'shorter') {
    return new LogRefused(
      'SHORTER_LOG',
      `the event log ${quote(name)} lost its end: it ${has}, and ${knows}. ${choices}`,
    );
  }
  return new LogRefused('OTHER_LOG', `the event log ${quote(name)} is another: it ${has}, and ${knows}. ${choices}`);
}
