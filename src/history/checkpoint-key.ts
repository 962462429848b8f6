import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomUUID,
  sign,
} from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { quote } from '../domain/errors.js';
import type { TreeHead } from '../domain/log-tree/check-proof.js';
import { checkpointText } from '../domain/log-tree/checkpoint.js';
import { formatNote } from '../domain/log-tree/signed-note.js';
import { bytesOfKey, type VerifierKey, verifierKey } from '../domain/log-tree/verifier-key.js';
import { createDurably } from '../files/durable-file.js';

/** What checkpoints are signed with. */
export type CheckpointSigner = {
  /** What they are verified with; its name is the log's. */
  readonly key: VerifierKey;
  /** The signed checkpoint of a tree, with lines of extensions behind it. */
  sign(head: TreeHead, extensions?: readonly string[]): string;
};

/** The same key, where events are signed with it too. */
export type EventSigning = {
  /** The signature of 64 bytes. What is signed is told from every checkpoint by how it begins. */
  signEvent(statement: Uint8Array): Buffer;
};

/** Where the key is. */
export type CheckpointKeyPlace = {
  /** File of the private key. */
  readonly path: string;
  /** Whether the key is made where there is none. */
  readonly make: boolean;
  /** The private key itself, in the place of its file, and what it is from, as messages call it. */
  readonly given?: { readonly pem: string; readonly from: string } | undefined;
  /** Name of the log; without it, `memoir/` and the beginning of a hash of the key. */
  readonly origin: string | undefined;
};

/** A key file has about 120 bytes. */
const longest = 16_384;

/**
 * Reads the key, or makes one: an Ed25519 private key as PKCS#8 in PEM, readable by its owner alone.
 * @throws Error naming the file if there is none, if it holds something else, or if others may read it
 */
export function openCheckpointKey({
  path,
  make,
  given,
  origin,
}: CheckpointKeyPlace): CheckpointSigner & EventSigning & { readonly made: boolean } {
  const made = make && !given && makeKey(path);
  const privateKey = given ? keyOf(given.pem, (why) => new Error(`${given.from} ${why}`)) : readKey(path);
  const bytes = bytesOfKey(createPublicKey(privateKey));
  const key = verifierKey(origin ?? `memoir/${hash('sha256', bytes, 'hex').slice(0, 8)}`, bytes);
  return {
    key,
    made,
    signEvent: (statement) => sign(null, statement, privateKey),
    sign(head, extensions) {
      const text = checkpointText({ ...head, origin: key.name }, extensions);
      return formatNote(text, key, sign(null, Buffer.from(text), privateKey));
    },
  };
}

/** Makes a key where there is none, whole or not at all, whoever else does so at the same moment. */
function makeKey(path: string): boolean {
  // Nothing is written where there is one: on a full disk the server must start.
  if (existsSync(path)) return false;
  try {
    const { privateKey } = generateKeyPairSync('ed25519');
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    return createDurably(path, pem, { aside: `${path}.${randomUUID()}`, mode: 0o600 });
  } catch (error) {
    throw new Error(`the checkpoint key cannot be made: ${(error as Error).message}`, { cause: error });
  }
}

function readKey(path: string): KeyObject {
  const refuse = (why: string, cause?: unknown) => new Error(`checkpoint_key ${quote(path)} ${why}`, { cause });
  let pem: string;
  try {
    // Without waiting, should it be a pipe.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = fstatSync(file);
      if (!found.isFile() || found.size > longest) throw refuse('is no key file');
      const mode = found.mode & 0o777;
      if ((mode & 0o077) !== 0) {
        throw refuse(`may be used by others than its owner (mode ${mode.toString(8)}); make it mode 600`);
      }
      pem = readFileSync(file, 'utf8');
    } finally {
      closeSync(file);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const hint = code === 'ENOENT' ? '; make one by: openssl genpkey -algorithm ed25519 -out FILE' : '';
    throw refuse(`cannot be read: ${(error as Error).message}${hint}`, error);
  }
  return keyOf(pem, refuse);
}

function keyOf(pem: string, refuse: (why: string) => Error): KeyObject {
  const privateKey = parsePem(pem);
  if (privateKey?.asymmetricKeyType !== 'ed25519') {
    throw refuse('is no Ed25519 private key as PKCS#8 in PEM, without a password');
  }
  return privateKey;
}

/** The error of the parser is not told: it may quote what it read. */
function parsePem(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    return undefined;
  }
}
