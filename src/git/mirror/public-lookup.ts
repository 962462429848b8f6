import { lookup as resolveHost } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { isPrivateAddress } from './private-address.js';
import type { RemoteRules } from './remote-rules.js';

/**
 * Looks a name up for a connection that is being made, and refuses it if any of its addresses is private and that is not allowed;
 * so a name cannot change its mind between the check and the connection.
 */
export function createPublicLookup({
  allowPrivateAddresses,
}: Pick<RemoteRules, 'allowPrivateAddresses'>): LookupFunction {
  return (hostname, options, callback) => {
    resolveHost(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      const wrong = allowPrivateAddresses ? undefined : addresses.find(({ address }) => isPrivateAddress(address));
      if (wrong) return callback(new Error(`${hostname} has the address ${wrong.address}, which is not public`), '', 0);
      if (options.all) return callback(null, addresses);
      const [first] = addresses;
      return first
        ? callback(null, first.address, first.family)
        : callback(new Error(`${hostname} has no address`), '', 0);
    });
  };
}
