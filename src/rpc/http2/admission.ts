import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Credential } from '../../domain/callers/credential.js';
import { MemoirError } from '../../domain/errors.js';
import { streamOf } from './seam.js';

/** Tells who calls by what proves it. @throws MemoirError if nothing does */
export type CredentialOf = (
  session: Http2Session | undefined,
  headers: IncomingHttpHeaders,
) => Credential | Promise<Credential>;

/** Lets calls in that prove who makes them, before anything is read of them. */
export type Admission = {
  /**
   * Calls `enter` for a call that may come in, with what it proves, or nothing for an open path, and `refuse` for another; at once where that can be
   * told at once.
   */
  admit(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    enter: (credential: Credential | undefined) => void,
    refuse: (error: MemoirError) => void,
  ): void;
  /** What a call proved when it came in. */
  credentialOf(call: object): Credential;
};

/** What the call of a stream proved stands on the stream: a WeakMap of all streams is work for the garbage collector, which profiles show. */
const proof = Symbol('what its call proved');
type Proven = ServerHttp2Stream & { [proof]?: Credential };

/** Admits calls by their credentials; those of paths that are `open`, such as health, come in without. */
export function openAdmission(credentialOf: CredentialOf, open: (path: string) => boolean): Admission {
  async function later(found: Promise<Credential>, stream: Proven): Promise<Credential | MemoirError> {
    // Nobody else listens yet, and an error that nobody hears of ends the process.
    const ignore = () => {};
    stream.on('error', ignore);
    try {
      const credential = await found;
      stream[proof] = credential;
      return credential;
    } catch (error) {
      return refusalOf(error);
    } finally {
      stream.off('error', ignore);
    }
  }

  return {
    admit(stream, headers, enter, refuse) {
      if (open(String(headers[':path']))) {
        enter(undefined);
        return;
      }
      let found: Credential | Promise<Credential>;
      try {
        found = credentialOf(stream.session, headers);
        // It has said all that it has to say; whatever looks at the headers from here on has no use for it.
        headers.authorization = undefined;
      } catch (error) {
        refuse(refusalOf(error));
        return;
      }
      if (found instanceof Promise) {
        void later(found, stream).then((told) => {
          if (stream.destroyed || stream.closed) return;
          if (told instanceof MemoirError) refuse(told);
          else enter(told);
        });
        return;
      }
      (stream as Proven)[proof] = found;
      enter(found);
    },
    credentialOf(call) {
      const credential = (streamOf(call) as Proven | undefined)?.[proof];
      if (credential) return credential;
      throw new MemoirError('INTERNAL', 'NO_CREDENTIAL', 'who makes the call was told, and is not known any more');
    },
  };
}

const refusalOf = (error: unknown): MemoirError =>
  error instanceof MemoirError
    ? error
    : new MemoirError('INTERNAL', 'INTERNAL', 'who makes the call cannot be told', { cause: error });
