import { MemoirError, quote } from '../../domain/errors.js';
import { protoName } from '../../domain/proto-name.js';
import { explaining } from '../foreign.js';
import type { NewEvent } from '../port.js';

/** Most bytes of an append that a server may take, whatever its MaxAppendSize: its messages have at most 16 MiB. */
const mostOfAnyServer = 16 * 1024 * 1024 - 64 * 1024;

/** How large appends may be, as far as that is known. */
export type AppendSizes = {
  /** @throws MemoirError INVALID_ARGUMENT EVENT_TOO_LARGE if the server would refuse an append of these events */
  check(stream: string, events: readonly NewEvent[]): void;
  /** Takes note that the server refused these for a limit of its own, and gives the error for whoever wanted to append them. */
  learn(stream: string, events: readonly NewEvent[], limit: number): MemoirError;
};

/** Knows nothing yet: a server tells its limit when it refuses an append. */
export function appendSizes(): AppendSizes {
  let most = mostOfAnyServer;
  return {
    check(stream, events) {
      // Most events are far below every limit; a character has three bytes at most for each of its UTF-16 code units.
      let bound = 0;
      for (const { type, data, metadata } of events) bound += 3 * (data.length + metadata.length) + 2 * type.length;
      if (bound > most && sizeOf(events) > most) throw tooLarge(stream, events, most);
    },
    learn(stream, events, limit) {
      if (Number.isSafeInteger(limit) && limit > 0) most = Math.min(most, limit);
      return tooLarge(stream, events, most);
    },
  };
}

/** What a server counts of an append against its MaxAppendSize, in bytes. */
export function sizeOf(events: readonly NewEvent[]): number {
  return events.reduce(
    (sum, { type, data, metadata }) => sum + Buffer.byteLength(data) + Buffer.byteLength(metadata) + 2 * type.length,
    0,
  );
}

function tooLarge(stream: string, events: readonly NewEvent[], limit: number): MemoirError {
  const [first] = events as readonly [NewEvent, ...NewEvent[]];
  const bytes = sizeOf(events);
  const member = largestMember(first);
  return new MemoirError(
    'INVALID_ARGUMENT',
    'EVENT_TOO_LARGE',
    `a ${first.type} of stream ${quote(stream)} would take ${bytes} bytes, most of them in ${member}, and the event ` +
      `store takes at most ${limit} at once (its MaxAppendSize); a control character takes six bytes, being written as JSON`,
    {
      ...(!explaining.includes(member) && { field: member }),
      metadata: { limit: String(limit), bytes: String(bytes) },
    },
  );
}

/** Name of the member of an event that is longest as JSON, as the protos spell it. */
function largestMember({ data }: NewEvent): string {
  const members = Object.entries(JSON.parse(data) as Record<string, unknown>);
  const sizes = members.map(([name, value]) => [name, JSON.stringify(value).length] as const);
  const [name] = sizes.reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
  return protoName(name);
}
