import { hash } from 'node:crypto';

/** What of an event is in the tree over the log. Its position is not: the place in the tree says what came before it. */
export type Leaf = {
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  /** When the store recorded it, in milliseconds since 1970-01-01T00:00Z. */
  readonly recordedAt: number;
  /** ProtoJSON of the metadata, as it is stored. */
  readonly metadata: string;
  /** ProtoJSON of the event, as it is stored. */
  readonly data: string;
};

/**
 * The event as the text that is hashed: a JSON array of stream, revision, id, type, recordedAt and the text of the metadata; a line
 * feed; the text of the data. JSON text written without spaces has no line feed, so that no two events have one text.
 */
export function leafText({ stream, revision, id, type, recordedAt, metadata, data }: Leaf): string {
  return `${JSON.stringify([stream, revision, id, type, recordedAt, metadata])}\n${data}`;
}

/** Hash of an event in the tree: SHA-256 of a zero byte and its text in UTF-8 (RFC 6962, section 2.1). 32 bytes. */
export function leafHash(leaf: Leaf): Buffer {
  return leafTextHash(leafText(leaf));
}

/** Hash in the tree of the event that has a text. */
export function leafTextHash(text: string): Buffer {
  return hash('sha256', `\0${text}`, 'buffer');
}

/** The event that has a text; undefined if it is not the text of any. */
export function leafOfText(text: string): Leaf | undefined {
  const end = text.indexOf('\n');
  try {
    const [stream, revision, id, type, recordedAt, metadata] = JSON.parse(text.slice(0, Math.max(0, end))) as unknown[];
    const leaf = { stream, revision, id, type, recordedAt, metadata, data: text.slice(end + 1) } as Leaf;
    return leafText(leaf) === text ? leaf : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes the hash of an event, as `leafHash` gives it, to `target` at byte `at`: for many events, since to make a buffer for each takes
 * as long as the hash.
 */
export function writeLeafHash(leaf: Leaf, target: Buffer, at: number): void {
  target.write(hash('sha256', `\0${leafText(leaf)}`, 'binary'), at, 'latin1');
}
