import { createHash, hash as digestOf } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { batches } from '../../../content/batches.js';
import { corrupt, mismatch, notFound } from '../../../content/blob-files.js';
import { type BlobName, emptyHash } from '../../../content/blob-name.js';
import type { Blob, BlobReading, ContentStore } from '../../../content/content.js';
import type { LocalContent } from '../../../content/local-content.js';
import { MemoirError } from '../../../domain/errors.js';
import type { Edge } from '../../../edge.js';
import { CallError } from '../../call-error.js';
import { type CalledCas, callTimeout, downloadName, unavailable, uploadName } from './call-cas.js';
import { calledIdentity } from './called-identity.js';

/** Blobs that are asked for at once: what fits into a message of every store. */
const asked = 5_000;

/** Most blobs of a batch. */
const batchBlobs = 1_000;

/** Bytes of one message of an upload. */
const pieceBytes = 512 * 1024;

/** What a store elsewhere is called with. */
export type CalledContext = {
  readonly called: CalledCas;
  /** Where uploads are until they are whole, hashed, and passed on. */
  readonly spool: LocalContent;
  /** Where the id of the store is kept. */
  readonly directory: string;
  readonly edge: Edge;
};

/**
 * Content that another store keeps, which speaks the Remote Execution API. Nothing of it is believed without its hash: neither what it gives, nor
 * what is put there, which it might take for granted where it has the blob. How long it keeps what is its own affair.
 */
export function calledContent({ called, spool, directory, edge }: CalledContext): ContentStore {
  const { cas, bytes, instance, told } = called;
  const doubting: (() => void)[] = [];

  async function asking<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw told(error);
    }
  }

  async function missing(names: readonly BlobName[]): Promise<readonly BlobName[]> {
    const wanted = names.filter(({ hash }) => hash !== emptyHash);
    const gone = new Set<string>();
    for (let at = 0; at < wanted.length; at += asked) {
      const blobDigests = wanted.slice(at, at + asked).map(wire);
      const request = { instanceName: instance, blobDigests };
      const found = await asking(() => cas.findMissingBlobs(request, { timeoutMs: callTimeout }));
      for (const { hash } of found.missingBlobDigests) gone.add(hash);
    }
    return wanted.filter(({ hash }) => gone.has(hash));
  }

  /** All of some blobs that fit into one batch. */
  async function getBatch(names: readonly BlobName[]): Promise<Map<string, Uint8Array | MemoirError>> {
    const request = { instanceName: instance, digests: names.map(wire) };
    const { responses } = await asking(() => cas.batchReadBlobs(request, { timeoutMs: callTimeout }));
    const found = new Map<string, Uint8Array | MemoirError>();
    for (const { digest, data, status: one } of responses) {
      const name = names.find(({ hash }) => hash === digest?.hash);
      if (!name) continue;
      const { code = status.OK, message = '' } = one ?? {};
      if (code === status.NOT_FOUND) found.set(name.hash, notFound(name));
      else if (code !== status.OK) throw told(new CallError(code, message));
      else if (data.length === name.size && digestOf('sha256', data) === name.hash) found.set(name.hash, data);
      else found.set(name.hash, wrong(name));
    }
    return found;
  }

  /** The error for bytes that the store gave for a blob and that are not its own. */
  function wrong(name: BlobName): MemoirError {
    for (const listener of doubting) listener();
    return corrupt(name);
  }

  async function getLarge(name: BlobName): Promise<Uint8Array | MemoirError> {
    try {
      const reading = await read(name, 0, name.size);
      const pieces: Uint8Array[] = [];
      for (let piece = await reading.next(); piece.length > 0; piece = await reading.next()) pieces.push(piece);
      return Buffer.concat(pieces);
    } catch (error) {
      if (error instanceof MemoirError && ['NOT_FOUND', 'DATA_LOSS'].includes(error.code)) return error;
      throw error;
    }
  }

  async function read(name: BlobName, offset: number, limit: number): Promise<BlobReading> {
    if (name.size === 0) return nothing;
    const end = Math.min(name.size, offset + limit);
    const hash = offset === 0 && end === name.size ? createHash('sha256') : undefined;
    const resourceName = downloadName(instance, name);
    const messages = bytes.read({ resourceName, readOffset: BigInt(offset), readLimit: BigInt(end - offset) });
    let at = offset;
    async function next(): Promise<Uint8Array> {
      try {
        for (;;) {
          const { done, value } = await messages.next();
          if (!done && value.data.length === 0) continue;
          if (done) {
            if (at !== end || (hash && hash.digest('hex') !== name.hash)) throw wrong(name);
            return new Uint8Array();
          }
          at += value.data.length;
          if (at > end) throw wrong(name);
          hash?.update(value.data);
          return value.data;
        }
      } catch (error) {
        if (error instanceof CallError && error.code === status.NOT_FOUND) throw notFound(name);
        throw told(error);
      }
    }
    // Whether it is there is told before anything of it is.
    let first: Uint8Array | undefined = end > offset ? await next() : undefined;
    let ended = false;
    return {
      async next() {
        const piece = first ?? (ended ? new Uint8Array() : await next());
        first = undefined;
        ended ||= piece.length === 0;
        // The last piece of a whole blob is given once it is known to be its own.
        if (!ended && at === end && piece.length > 0 && first === undefined) {
          const rest = await next();
          ended = rest.length === 0;
        }
        return piece;
      },
      close: async () => void (await messages.return?.()),
    };
  }

  async function put(blobs: readonly Blob[]): Promise<readonly (MemoirError | undefined)[]> {
    const errors = blobs.map(({ name, data }) => {
      if (data.length !== name.size) return mismatch(name, { size: data.length });
      const hash = digestOf('sha256', data);
      return hash === name.hash ? undefined : mismatch(name, { hash, size: data.length });
    });
    const good = blobs.filter(({ name }, i) => !errors[i] && name.hash !== emptyHash);
    const failed = new Map<string, MemoirError>();
    const most = await asking(() => called.batchBytes());
    for (const batch of batches(good, { blobs: batchBlobs, bytes: most }, ({ data }) => data.length)) {
      const [only] = batch;
      if (only && only.data.length > most) {
        await passOn(only.name, only.name.hash.slice(0, 32), [only.data]);
        continue;
      }
      const requests = batch.map(({ name, data }) => ({ digest: wire(name), data }));
      const request = { instanceName: instance, requests };
      const { responses } = await asking(() => cas.batchUpdateBlobs(request, { timeoutMs: callTimeout }));
      const kept = new Set<string>();
      for (const { digest, status: one } of responses) {
        const { code = status.OK, message = '' } = one ?? {};
        if (code === status.OK) kept.add(digest?.hash ?? '');
        else failed.set(digest?.hash ?? '', told(new CallError(code, message)));
      }
      for (const { name } of batch) {
        if (!kept.has(name.hash) && !failed.has(name.hash)) {
          failed.set(name.hash, unavailable(new Error(`the store did not say what became of blob ${name.hash}`)));
        }
      }
    }
    return blobs.map(({ name }, i) => errors[i] ?? failed.get(name.hash));
  }

  /** Uploads a blob whose bytes are its own. */
  async function passOn(
    name: BlobName,
    upload: string,
    pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    const resourceName = uploadName(instance, uuidOf(upload), name);
    async function* messages() {
      let at = 0;
      for await (const piece of pieces) {
        for (let from = 0; from < piece.length; from += pieceBytes) {
          const data = piece.subarray(from, from + pieceBytes);
          const finishWrite = at + data.length === name.size;
          yield { resourceName, writeOffset: BigInt(at), data, finishWrite };
          at += data.length;
        }
      }
    }
    const { committedSize } = await asking(() => bytes.write(messages()));
    if (committedSize !== BigInt(name.size) && committedSize !== -1n) {
      throw unavailable(new Error(`the store took ${committedSize} of ${name.size} bytes of blob ${name.hash}`));
    }
  }

  /** The bytes of a blob in the spool. */
  async function* spooled(name: BlobName): AsyncGenerator<Uint8Array> {
    const reading = await spool.read(name, 0, name.size);
    try {
      for (let piece = await reading.next(); piece.length > 0; piece = await reading.next()) yield piece;
    } finally {
      await reading.close();
    }
  }

  const isThere = async (name: BlobName) => (await missing([name])).length === 0;
  const identity = calledIdentity({ directory, isThere, put: async (blob) => (await put([blob]))[0], edge });

  return {
    identity: () => asking(identity.now),
    hold: missing,
    corrupted: async () => [],
    onDoubt: (listener) => void doubting.push(listener),
    missing,
    read,
    async get(names) {
      const most = await asking(() => called.batchBytes());
      const found = new Map<string, Uint8Array | MemoirError>([[emptyHash, new Uint8Array()]]);
      const wanted = [...new Map(names.map((name) => [name.hash, name])).values()].filter(({ size }) => size > 0);
      for (const batch of batches(wanted, { blobs: batchBlobs, bytes: most }, ({ size }) => size)) {
        const [first] = batch;
        if (first && first.size > most) found.set(first.hash, await getLarge(first));
        else for (const [hash, one] of await getBatch(batch)) found.set(hash, one);
      }
      return names.map((name) => found.get(name.hash) ?? notFound(name));
    },
    put,
    async write(piece) {
      const { name, blind = false } = piece;
      if (!blind && piece.offset === 0 && name.hash !== emptyHash && (await isThere(name))) {
        return { committed: name.size, complete: true };
      }
      const taken = await spool.write({ ...piece, blind: true });
      if (!taken.complete || name.hash === emptyHash) return taken;
      try {
        await passOn(name, piece.upload, spooled(name));
      } finally {
        await spool.drop(name);
      }
      return taken;
    },
    async uploaded(name, upload, { blind = false } = {}) {
      if (!blind && name.hash !== emptyHash && (await isThere(name))) return { committed: name.size, complete: true };
      return spool.uploaded(name, upload, { blind: true });
    },
    async close() {
      identity.close();
      called.close();
      await spool.close();
    },
  };
}

const nothing: BlobReading = { next: async () => new Uint8Array(), close: async () => undefined };

const wire = ({ hash, size }: BlobName) => ({ hash, sizeBytes: BigInt(size) });

/** A UUID for an upload, by what its client calls it. */
function uuidOf(upload: string): string {
  const digits = digestOf('sha256', upload).slice(0, 32);
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
