import { MemoirError, quote } from '../domain/errors.js';

/** A server as an option names it. */
export type ServerAddress = {
  /** As host:port. */
  readonly address: string;
  /** Whether it is called by TLS: undefined if that was not said. */
  readonly tls: boolean | undefined;
};

/** Port of a server whose address names none, by TLS or without. */
const usualPort = 7420;

/**
 * A server by `host:port`, `grpc://host:port` or `grpcs://host:port`, which may leave out the port.
 * @throws MemoirError INVALID_ARGUMENT BAD_ADDRESS naming it
 */
export function serverAddress(text: string): ServerAddress {
  const [, scheme, host, port] =
    /^(?:(grpcs?):\/\/)?(\[[0-9a-fA-F:.%]+\]|[^\s:/[\]@]+)(?::([0-9]{1,5}))?\/?$/.exec(text) ?? [];
  if (host === undefined || (port === undefined && scheme === undefined) || Number(port ?? usualPort) > 65_535) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'BAD_ADDRESS',
      `--server (MEMOIR_SERVER) ${quote(text)}: give it as host:port, or as grpcs://host:port for TLS`,
    );
  }
  return { address: `${host}:${port ?? usualPort}`, tls: scheme === undefined ? undefined : scheme === 'grpcs' };
}
