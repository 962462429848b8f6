import type { MemoirError } from '../domain/errors.js';
import type { BlobName } from './blob-name.js';

/** A blob and its bytes. */
export type Blob = { readonly name: BlobName; readonly data: Uint8Array };

/** How far an upload is. */
export type Uploaded = {
  /** Bytes that are kept; all of the blob's once it is complete, also where it was there before. */
  readonly committed: number;
  readonly complete: boolean;
};

/** A part of an upload. */
export type UploadPiece = {
  readonly name: BlobName;
  /** What the client calls the upload. */
  readonly upload: string;
  /** Where the piece begins. */
  readonly offset: number;
  readonly data: Uint8Array;
  /** Whether it is the last. */
  readonly finish: boolean;
} & Blind;

/** Whether what is there already is to be taken as if it were not, for who may not know that it is. */
export type Blind = { readonly blind?: boolean };

/** A blob that is being read; it is closed in the end. */
export type BlobReading = {
  /** The next bytes, at most about a mebibyte; none at the end. @throws MemoirError DATA_LOSS BLOB_CORRUPT, NOT_FOUND as `read` */
  next(): Promise<Uint8Array>;
  close(): Promise<void>;
};

/** Which store it is. What was known to be there is known no more of another one, or of one whose marker is gone. */
export type StoreIdentity = {
  readonly id: string;
  /** Whether the blob that a store is known by is there: else it was emptied, or does not have what it had. */
  readonly marked: boolean;
  /** Ids that it had before it was emptied; undefined for a store that all servers of a log reach. */
  readonly former?: readonly string[];
};

/** Blobs by their SHA-256. */
export type ContentStore = {
  /** Which store this is now. @throws MemoirError UNAVAILABLE CONTENT_UNAVAILABLE */
  identity(): Promise<StoreIdentity>;
  /** Holds blobs, so that none of them goes for so many milliseconds, and gives those that are not there. */
  hold(names: readonly BlobName[], ms: number): Promise<readonly BlobName[]>;
  /** Those that were put aside, since their bytes were not their own. */
  corrupted(names: readonly BlobName[]): Promise<readonly BlobName[]>;
  /** Calls `listener` after something was found not to be as it was. */
  onDoubt(listener: () => void): void;
  /** Those that are not there. The others are held: none of them goes for an hour. */
  missing(names: readonly BlobName[]): Promise<readonly BlobName[]>;
  /**
   * Bytes of a blob from `offset` on, `limit` of them at most. Whoever reads all of a blob is not given another one's bytes to the end.
   * @throws MemoirError NOT_FOUND BLOB_NOT_FOUND
   */
  read(name: BlobName, offset: number, limit: number): Promise<BlobReading>;
  /** All of small blobs, each by itself, or NOT_FOUND BLOB_NOT_FOUND or DATA_LOSS BLOB_CORRUPT. */
  get(names: readonly BlobName[]): Promise<readonly (Uint8Array | MemoirError)[]>;
  /**
   * Keeps small blobs, each by itself: undefined where it is kept when this resolves, so that it outlives a crash of the machine, or why it
   * is not. With `own` nobody else uses their bytes, whose memory may be gone afterwards. @throws MemoirError RESOURCE_EXHAUSTED CONTENT_FULL
   */
  put(blobs: readonly Blob[], how?: Blind & { readonly own?: boolean }): Promise<readonly (MemoirError | undefined)[]>;
  /**
   * Goes on with an upload: what is committed before the upload is complete may fail to be yet, which whoever goes on with it is told. The bytes of the piece are not the caller's any more: their memory may be gone afterwards. @throws MemoirError naming what is wrong with the piece; CONTENT_FULL
   */
  write(piece: UploadPiece): Promise<Uploaded>;
  /** How far an upload is; nothing was committed of one that was never begun. */
  uploaded(name: BlobName, upload: string, how?: Blind): Promise<Uploaded>;
  close(): Promise<void>;
};
