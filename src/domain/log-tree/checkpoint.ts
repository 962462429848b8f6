import { invalid, MemoirError, quote } from '../errors.js';
import { readBase64 } from './base64.js';
import type { TreeHead } from './check-proof.js';
import { hashLength } from './growing-tree.js';
import { parseNote, verifyNote } from './signed-note.js';
import { isKeyName, type VerifierKey } from './verifier-key.js';

/** What a log says of itself: how many events it has and the root of the tree over them (https://c2sp.org/tlog-checkpoint). */
export type Checkpoint = TreeHead & {
  /** Name of the log, which is also the name of its key. */
  readonly origin: string;
};

/** The checkpoint as the text that is signed, with lines of extensions behind it. */
export function checkpointText({ origin, size, root }: Checkpoint, extensions: readonly string[] = []): string {
  return [origin, size, Buffer.from(root).toString('base64'), ...extensions, ''].join('\n');
}

/**
 * Reads the text of a checkpoint. Lines that follow the root are extensions and are passed over.
 * @throws MemoirError INVALID_ARGUMENT for `note` naming the text
 */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', encoded = '', ...rest] = text.split('\n');
  const root = readBase64(encoded);
  const extensions = rest.slice(0, -1);
  const well = isKeyName(origin) && /^(0|[1-9][0-9]{0,15})$/.test(size) && Number.isSafeInteger(Number(size));
  if (!well || root?.length !== hashLength || rest.at(-1) !== '' || extensions.includes('')) {
    throw invalid(
      'note',
      'BAD_CHECKPOINT',
      `${quote(text)} is no checkpoint: a line with the log's name, one with its size, one with 32 bytes in base64`,
    );
  }
  return { origin, size: Number(size), root };
}

/** A checkpoint that was signed, by a key that is known. */
export type SignedCheckpoint = Checkpoint & { readonly key: VerifierKey };

/**
 * Reads a signed checkpoint and verifies it by the keys that are trusted.
 * @throws MemoirError INVALID_ARGUMENT for `note` if it is malformed, FAILED_PRECONDITION UNKNOWN_KEY if none of the keys signed it,
 * DATA_LOSS FORGED_CHECKPOINT if a signature that claims to be of one of them is not, or its log has another name
 */
export function openCheckpoint(note: string, keys: readonly VerifierKey[]): SignedCheckpoint {
  const parsed = parseNote(note);
  const checkpoint = parseCheckpoint(parsed.text);
  const { verdict, key } = verifyNote(parsed, keys);
  const what = `the checkpoint of ${quote(checkpoint.origin)} at ${checkpoint.size} events`;
  if (verdict === 'unknown') {
    const by = parsed.signatures.map(({ name, id }) => `${name}+${id}`).join(', ');
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'UNKNOWN_KEY',
      `${what} is signed by ${quote(by)}, none of which is a key that was given`,
    );
  }
  if (verdict === 'forged' || !key || key.name !== checkpoint.origin) {
    const why =
      verdict === 'forged' ? 'has a signature that its key did not make' : `is signed by the key of another log`;
    throw new MemoirError('DATA_LOSS', 'FORGED_CHECKPOINT', `${what} ${why}`);
  }
  return { ...checkpoint, key };
}
