import { randomUUID } from 'node:crypto';
import type { NewEvent } from '../../src/eventstore/port.js';

/** A new event with the given content, under a random id. */
export function newEvent(content: unknown = {}, type = 'JobLogAppended'): NewEvent {
  return { id: randomUUID(), type, data: JSON.stringify(content), metadata: '{"principal":"alice"}' };
}

/** New events whose contents are the numbers from `first` on. */
export function numbered(count: number, first = 0): NewEvent[] {
  return Array.from({ length: count }, (_, i) => newEvent(first + i));
}

/** Everything that an iteration gives. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
