import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { invalid, quote } from '../errors.js';
import { readBase64 } from './base64.js';

/** What signatures of one key are verified with (https://c2sp.org/signed-note). */
export type VerifierKey = {
  /** Name of who signs; of the log, for checkpoints. */
  readonly name: string;
  /** First four bytes of a hash of name and key, in hexadecimal digits: what a signature is recognised by. */
  readonly id: string;
  readonly key: KeyObject;
  /** The whole as a line of text: name, id and key between "+". */
  readonly text: string;
};

/** Byte that stands for Ed25519. */
const ed25519 = 1;

const keyLength = 32;

/** What goes before the bytes of a public key in its DER form (RFC 8410). */
const derPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/** Whether a text may be the name of a key: not empty, and without white space, plus signs and control characters. */
export function isKeyName(text: string): boolean {
  return text.isWellFormed() && text.length <= 255 && /^[^\s+\p{C}\p{Z}]+$/u.test(text);
}

/** The Ed25519 key of 32 bytes under a name that `isKeyName` allows. */
export function verifierKey(name: string, bytes: Uint8Array): VerifierKey {
  const typed = Buffer.concat([Uint8Array.of(ed25519), bytes]);
  const id = hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), typed]), 'buffer')
    .subarray(0, 4)
    .toString('hex');
  const key = createPublicKey({ key: Buffer.concat([derPrefix, bytes]), format: 'der', type: 'spki' });
  return { name, id, key, text: `${name}+${id}+${typed.toString('base64')}` };
}

/** The 32 bytes of an Ed25519 public key. */
export function bytesOfKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(derPrefix.length);
}

/**
 * Reads a key from its text.
 * @throws MemoirError INVALID_ARGUMENT for `key` naming the text, if it is malformed, of another algorithm, or its id is not its own
 */
export function parseVerifierKey(text: string): VerifierKey {
  const bad = (why: string) => invalid('key', 'BAD_KEY', `key ${quote(text)} ${why}`);
  const [name = '', id = '', ...encoded] = text.split('+');
  // Base64 has plus signs of its own.
  const typed = readBase64(encoded.join('+'));
  if (!isKeyName(name) || !/^[0-9a-f]{8}$/.test(id) || !typed) {
    throw bad('is not a name, eight hexadecimal digits and base64, between "+"');
  }
  if (typed[0] !== ed25519 || typed.length !== 1 + keyLength) throw bad('is no Ed25519 key');
  const key = verifierKey(name, typed.subarray(1));
  if (key.id !== id) throw bad(`has the id ${quote(id)}, but that of such a key is ${key.id}`);
  return key;
}
