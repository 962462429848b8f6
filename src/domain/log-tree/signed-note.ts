import { verify } from 'node:crypto';
import { invalid, quote } from '../errors.js';
import { readBase64 } from './base64.js';
import { isKeyName, type VerifierKey } from './verifier-key.js';

/** A signature of a note, by whatever key. */
export type NoteSignature = {
  readonly name: string;
  /** What its key is recognised by, in hexadecimal digits. */
  readonly id: string;
  readonly bytes: Uint8Array;
};

/** A text and who signed it (https://c2sp.org/signed-note). */
export type SignedNote = {
  /** What is signed: lines that each end with a line feed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
};

/** Most characters of a note, and most of its signatures: no checkpoint comes near them. */
const longest = 65_536;
const mostSignatures = 100;

const dash = '— ';

/** The note as text, with one signature of 64 bytes by a key. */
export function formatNote(
  text: string,
  { name, id }: Pick<VerifierKey, 'name' | 'id'>,
  signature: Uint8Array,
): string {
  const bytes = Buffer.concat([Buffer.from(id, 'hex'), signature]);
  return `${text}\n${dash}${name} ${bytes.toString('base64')}\n`;
}

/**
 * Reads a note. Nothing is verified.
 * @throws MemoirError INVALID_ARGUMENT for `note` naming what is malformed
 */
export function parseNote(note: string): SignedNote {
  const bad = (why: string) => invalid('note', 'BAD_NOTE', `the note ${quote(note)} ${why}`);
  if (note.length > longest) throw bad(`is longer than ${longest} characters`);
  if (!note.isWellFormed() || /[^\P{Cc}\n]/u.test(note)) throw bad('has characters that a note may not have');
  const end = note.lastIndexOf('\n\n');
  if (end < 1 || !note.endsWith('\n')) throw bad('is not lines, an empty line, and lines of signatures');
  const lines = note.slice(end + 2, -1).split('\n');
  if (lines.length > mostSignatures) throw bad(`has more than ${mostSignatures} signatures`);
  return { text: note.slice(0, end + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line: string): NoteSignature {
  const [name = '', encoded = '', ...rest] = line.slice(dash.length).split(' ');
  const bytes = readBase64(encoded);
  if (!line.startsWith(dash) || !isKeyName(name) || rest.length > 0 || !bytes || bytes.length < 5) {
    throw invalid('note', 'BAD_NOTE', `${quote(line)} is not the line of a signature: "— ", a name, base64`);
  }
  return { name, id: bytes.subarray(0, 4).toString('hex'), bytes: bytes.subarray(4) };
}

/**
 * What the signatures of a note are worth: `signed`, with the key, if one of the keys signed it, `forged` if one claims to be of one of
 * the keys and is not, `unknown` if none is of these keys.
 */
export function verifyNote(
  { text, signatures }: SignedNote,
  keys: readonly VerifierKey[],
): { readonly verdict: 'signed' | 'forged' | 'unknown'; readonly key?: VerifierKey } {
  let signer: VerifierKey | undefined;
  for (const { name, id, bytes } of signatures) {
    const key = keys.find((one) => one.name === name && one.id === id);
    if (!key) continue;
    if (!verify(null, Buffer.from(text), key.key, bytes)) return { verdict: 'forged' };
    signer ??= key;
  }
  return signer ? { verdict: 'signed', key: signer } : { verdict: 'unknown' };
}
