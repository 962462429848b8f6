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

/** Admits calls by their credentials; those of paths that are `open`, such as health, come in without. */
export function openAdmission(credentialOf: CredentialOf, open: (path: string) => boolean): Admission {
  const proven = new WeakMap<ServerHttp2Stream, Credential>();

  async function later(found: Promise<Credential>, stream: ServerHttp2Stream): Promise<Credential | MemoirError> {
    // Nobody else listens yet, and an error that nobody hears of ends the process.
    const ignore = () => {};
    stream.on('error', ignore);
    try {
      const credential = await found;
      proven.set(stream, credential);
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
      proven.set(stream, found);
      enter(found);
    },
    credentialOf(call) {
      const stream = streamOf(call);
      const credential = stream && proven.get(stream);
      if (credential) return credential;
      throw new MemoirError('INTERNAL', 'NO_CREDENTIAL', 'who makes the call was told, and is not known any more');
    },
  };
}

const refusalOf = (error: unknown): MemoirError =>
  error instanceof MemoirError
    ? error
    : new MemoirError('INTERNAL', 'INTERNAL', 'who makes the call cannot be told', { cause: error });
