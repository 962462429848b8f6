import { isIP } from 'node:net';
import { credentials } from '@grpc/grpc-js';

type Connector = { readonly connectionOptions?: { servername?: string } };
type Internals = { _createSecureConnector(...given: unknown[]): Connector };

let done = false;

/**
 * Lets grpc-js name a server in the TLS handshake by its host name only, and not by its address, which RFC 6066 (section 3) forbids:
 * Node.js prints a deprecation warning (DEP0123) of it. Its certificate is checked for the address all the same, which is the host of the
 * connection. There is no option for it, and the client makes its credentials itself.
 */
export function nameNoAddresses(): void {
  if (done) return;
  done = true;
  const internals = Object.getPrototypeOf(credentials.createSsl()) as Internals;
  const { _createSecureConnector: createConnector } = internals;
  internals._createSecureConnector = function (this: unknown, ...given) {
    const connector = createConnector.apply(this, given);
    const { connectionOptions } = connector;
    if (connectionOptions && isIP(connectionOptions.servername ?? '')) delete connectionOptions.servername;
    return connector;
  };
}
