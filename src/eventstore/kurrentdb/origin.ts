import { quote } from '../../domain/errors.js';
import { isPlainJson } from '../json-text.js';

/** The member of an event's metadata that an import adds. */
const member = 'imported';

/** Where and when an event was recorded before it was imported. */
export type Origin = {
  /** Position in the log that it comes from. */
  readonly position: number;
  /** In milliseconds since 1970-01-01T00:00Z. The server has the time of the import instead. */
  readonly recordedAt: number;
};

/**
 * The text of an event's metadata with its origin as the last member.
 * @throws Error if the metadata would not come back as they are
 */
export function withOrigin(metadata: string, { position, recordedAt }: Origin): string {
  if (!metadata.startsWith('{') || !isPlainJson(metadata)) {
    throw new Error(`its metadata ${quote(metadata)} are no JSON object as JSON.stringify writes it`);
  }
  if (Object.hasOwn(JSON.parse(metadata), member)) {
    throw new Error(
      `its metadata ${quote(metadata)} have a member ${quote(member)}, which has a meaning of its own there`,
    );
  }
  const separator = metadata === '{}' ? '' : ',';
  return `${metadata.slice(0, -1)}${separator}${JSON.stringify({ [member]: { position, recordedAt } }).slice(1)}`;
}

/** Metadata as the server has them, parsed, in two: what the event was recorded with, and its origin if it was imported. */
export function splitOrigin(metadata: unknown): { readonly metadata: unknown; readonly origin?: Origin } {
  if (typeof metadata !== 'object' || metadata === null || !Object.hasOwn(metadata, member)) return { metadata };
  const { [member]: origin, ...rest } = metadata as Record<string, unknown>;
  return isOrigin(origin) ? { metadata: rest, origin } : { metadata };
}

function isOrigin(value: unknown): value is Origin {
  if (typeof value !== 'object' || value === null) return false;
  const { position, recordedAt } = value as Partial<Record<keyof Origin, unknown>>;
  return Number.isSafeInteger(position) && Number.isSafeInteger(recordedAt);
}
