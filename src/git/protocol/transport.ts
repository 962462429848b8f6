import type { PktReader } from './pkt-line.js';

/** The way to one repository of a remote, for one request at a time. */
export type Transport = {
  /** What it says first: its capabilities, or its refs. */
  advertisement(): Promise<PktReader>;
  /** Sends a request and gives what is answered. */
  request(body: Buffer): Promise<PktReader>;
  /** Says that an answer was read, up to its flush, and that it is this side that is waited for until the next request. */
  done(answer: PktReader): Promise<void>;
  /** Bytes that were received so far. */
  received(): number;
  /** Forgets what was remembered. */
  forget(): void;
  /** Ends what is under way. */
  close(): void;
};

/** Bounds of one fetch. */
export type TransportLimits = {
  /** How long a connection may be silent, in milliseconds. */
  readonly silence: number;
  /** Most bytes that are received in all. */
  readonly bytes: number;
};

export const service = 'git-upload-pack';

/** Counts bytes as they come. @throws Error from what it gives, if there are more than allowed */
export function byteBudget({ bytes }: TransportLimits): { count(length: number): void; received(): number } {
  let received = 0;
  return {
    count(length) {
      received += length;
      if (received > bytes) throw new Error(`it sends more than ${bytes} bytes`);
    },
    received: () => received,
  };
}
