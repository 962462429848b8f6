import { isIP } from 'node:net';
import { quote } from '../../domain/errors.js';
import { gitPath } from './git-url.js';
import { isPrivateAddress } from './private-address.js';

/** Where repositories may be fetched from. */
export type RemoteRules = {
  /** Host names that are allowed, in lower case; `*.example.org` allows every name below it. */
  readonly allowedHosts: readonly string[];
  /** Whether `http:` is allowed beside `https:`. */
  readonly allowHttp: boolean;
  /** Whether `git:` is allowed, whose content anybody on the way can change as with `http:`. */
  readonly allowGit: boolean;
  /** Whether hosts may have addresses of private networks, of this machine, or that are otherwise not public. */
  readonly allowPrivateAddresses: boolean;
};

/** Says why a URL must not be asked; undefined if it may. Addresses behind a name are another matter. */
export function refusedUrl(
  url: URL,
  { allowedHosts, allowHttp, allowGit, allowPrivateAddresses }: RemoteRules,
): string | undefined {
  const { protocol } = url;
  if (protocol !== 'https:' && !(allowHttp && protocol === 'http:') && !(allowGit && protocol === 'git:')) {
    return `the scheme ${quote(protocol)} is not allowed`;
  }
  if (url.username !== '' || url.password !== '') return 'credentials belong into the configuration, not into a URL';
  const host = url.hostname.toLowerCase().replace(/\.$/, '');
  const allowed = allowedHosts.some((rule) => (rule.startsWith('*.') ? host.endsWith(rule.slice(1)) : host === rule));
  if (!allowed) return `the host ${quote(host)} is not allowed`;
  const address = host.replace(/^\[(.*)\]$/, '$1');
  if (!allowPrivateAddresses && isIP(address) !== 0 && isPrivateAddress(address))
    return `${address} is not a public address`;
  const path = protocol === 'git:' ? gitPath(url) : undefined;
  return path && 'problem' in path ? path.problem : undefined;
}
