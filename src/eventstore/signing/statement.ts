import { hash, type KeyObject } from 'node:crypto';
import type { Generation } from '../../domain/generation.js';
import { bytesOfKey, parseVerifierKey, verifierKey } from '../../domain/log-tree/verifier-key.js';
import type { NewEvent } from '../port.js';

// What of an event a server signs, and where the signature stands: as the last member of the event's metadata, so that stores, exports and
// other versions carry it without knowing it.

/** A signature as it stands in the metadata of an event. */
export type EventSignature = {
  /** What its key is recognised by; see `SigningKey`. */
  readonly by: string;
  /**
   * Where any revision was right: one that the stream had when it was signed, -1 if none was known. The event stands once, somewhere behind
   * it. Undefined where the revision is signed.
   */
  readonly after: number | undefined;
  /** 64 bytes in base64. */
  readonly value: string;
};

/** A public key that events are verified with. */
export type SigningKey = {
  /** First eight bytes of the SHA-256 of the key, in hexadecimal digits, whatever name it goes by. */
  readonly id: string;
  readonly key: KeyObject;
  /** The key as a line of text (https://c2sp.org/signed-note), under the name that its hash gives. */
  readonly text: string;
};

/** Reads a key from its text, under any name. @throws MemoirError INVALID_ARGUMENT as `parseVerifierKey` */
export function signingKey(text: string): SigningKey {
  const { key } = parseVerifierKey(text);
  const bytes = bytesOfKey(key);
  const digest = hash('sha256', bytes, 'hex');
  return { id: digest.slice(0, 16), key, text: verifierKey(`memoir/${digest.slice(0, 8)}`, bytes).text };
}

/** What is signed of an event, beside its generation: its place in the log is not, since an export does not keep it. */
export type Signed = Pick<NewEvent, 'id' | 'type' | 'data'> & {
  readonly stream: string;
  /** Its revision; where any was right, one that it is behind. */
  readonly revision: number | { readonly after: number };
  /** The text of the metadata without the signature. */
  readonly metadata: string;
};

/**
 * What is signed, in UTF-8: a JSON array of a name for the format, number and id of the generation, stream, revision, id, type and the text of the metadata; a line feed; the text of the data. No two events have one text, and none is a checkpoint.
 */
export function statementOf({ stream, revision, id, type, metadata, data }: Signed, generation: Generation): Buffer {
  const { number, id: generationId } = generation;
  const head = ['memoir-event-1', number, generationId, stream, revision, id, type, metadata];
  return Buffer.from(`${JSON.stringify(head)}\n${data}`);
}

const member = ',"signature":{';
const form = /^"by":"([0-9a-f]{16})",(?:"after":(-1|0|[1-9][0-9]{0,15}),)?"value":"([A-Za-z0-9+/]{86}==)"\}\}$/;

/** The text of metadata with a signature, as their last member. */
export function withSignature(metadata: string, { by, after, value }: EventSignature): string {
  const behind = after === undefined ? '' : `"after":${after},`;
  return `${metadata.slice(0, -1)}${member}"by":"${by}",${behind}"value":"${value}"}}`;
}

/** The text of metadata in two: without the signature, and the signature; undefined if they have none, or one of another form. */
export function splitSignature(
  text: string,
): { readonly metadata: string; readonly signature: EventSignature } | undefined {
  const at = text.lastIndexOf(member);
  if (at < 0) return undefined;
  const [, by = '', after, value = ''] = form.exec(text.slice(at + member.length)) ?? [];
  if (by === '') return undefined;
  return {
    metadata: `${text.slice(0, at)}}`,
    signature: { by, after: after === undefined ? undefined : Number(after), value },
  };
}
