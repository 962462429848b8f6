import { crc32 } from 'node:zlib';
import type { RecordedEvent } from '../port.js';

/**
 * CRC-32 of everything that an event's row holds. SQLite checks the shape of its file but not what stands in it, so that a bit
 * that flips on the disk would otherwise be read as if it had been recorded.
 */
export function checksum(event: RecordedEvent): number {
  const { position, revision, recordedAt, stream, id, type, data, metadata } = event;
  return crc32(`${position} ${revision} ${recordedAt} ${id} ${type} ${stream}\n${metadata}\n${data}`);
}
