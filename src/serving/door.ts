import type { IncomingHttpHeaders } from 'node:http2';
import type { ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { openAuthenticator } from '../auth/authenticator.js';
import { openTlsFiles } from '../auth/tls-files.js';
import type { ServerConfig } from '../config.js';
import { unrestricted } from '../domain/access.js';
import { principalOfWho, unauthenticated } from '../domain/callers/credential.js';
import { quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import type { PolicyFile } from '../policy/policy-file.js';
import { type Authenticate, type Authorise, type Calls, namedPrincipal, principalFromMetadata } from '../rpc/call.js';
import { type Admission, openAdmission } from '../rpc/http2/admission.js';
import { type ListenAddress, listenAddress } from './listen-address.js';

/** How often it is looked whether streams are still of whom they were begun by, in milliseconds. */
const betweenLooks = 1_000;

/** How callers come in. */
export type Door = {
  /** What connections are encrypted with; undefined for nothing. */
  readonly tls: ServerCredentials | undefined;
  /** What lets calls in by what they prove; undefined where nothing has to be proved. */
  readonly admission: Admission | undefined;
  /** Who makes a call. */
  readonly authenticate: Authenticate;
  /** Whether callers are anybody: nothing has to be proved, and they are not believed whom they say they are. */
  readonly anybody: boolean;
  /** Whose a call is by its headers, where nothing has to be proved; undefined where everybody is nobody. */
  readonly named: (headers: IncomingHttpHeaders) => string | undefined;
  /** Ends calls under way whose callers prove no more who they are. */
  watch(calls: Calls): void;
  close(): void;
};

/**
 * Where a server listens by its settings.
 * @throws Error naming the setting if it is malformed, or would let others than this machine reach a port that they must not
 */
export function checkedAddress(
  config: Pick<ServerConfig, 'listen' | 'tls' | 'plaintext_beyond_loopback'>,
): ListenAddress {
  const address = listenAddress(config.listen);
  if (address.loopback || config.tls || config.plaintext_beyond_loopback) return address;
  throw new Error(
    `listen ${quote(config.listen)} is not a loopback address: what is sent there can be read on the way. Give tls.cert and tls.key, or plaintext_beyond_loopback = true where all that is on the way is trusted`,
  );
}

/** Opens what a server lets callers in by. @throws Error naming the setting or file that cannot be used */
export async function openDoor(
  config: ServerConfig,
  { loopback }: ListenAddress,
  edge: Edge,
  logger: Logger,
): Promise<Door> {
  const authenticator = await openAuthenticator(config.auth, config.tls, edge, logger);
  if (!loopback && !authenticator && !config.plaintext_beyond_loopback) {
    throw new Error(
      `listen ${quote(config.listen)} is not a loopback address, and nothing would prove who calls: give auth.tokens, auth.issuers or tls.client_ca`,
    );
  }
  const tls = config.tls && openTlsFiles(config.tls, config.rpc.handshake_timeout * 1_000, edge, logger);
  if (!loopback && !tls) {
    const anybody = authenticator ? '' : '; nothing proves who calls, so that everybody is "anonymous"';
    logger.warn(
      { listen: config.listen },
      `plaintext_beyond_loopback: what is sent to this port can be read and changed on the way${anybody}`,
    );
  }
  const open = (path: string) => config.auth.open_health && path.startsWith('/grpc.health.v1.Health/');
  const admission = authenticator && openAdmission(authenticator.credentialOf, open);
  let timer: NodeJS.Timeout | undefined;
  return {
    tls: tls?.credentials,
    admission,
    authenticate: admission?.credentialOf ?? (loopback ? byMetadata(config) : () => 'anonymous'),
    anybody: !loopback && !authenticator,
    named: loopback ? (headers) => String(headers['memoir-principal'] ?? 'anonymous') : () => undefined,
    watch(calls) {
      if (authenticator) timer = setInterval(calls.endUnproven, betweenLooks).unref();
    },
    close() {
      clearInterval(timer);
      tls?.close();
      authenticator?.close();
    },
  };
}

/** Only this machine can call, and callers name themselves; where a policy says who may do what, they have to. */
const byMetadata = ({ policy }: Pick<ServerConfig, 'policy'>): Authenticate =>
  policy === undefined ? principalFromMetadata : namedPrincipal;

/** What callers may do by a policy, everything without one. */
export function authorising(policy: PolicyFile | undefined): Authorise {
  if (!policy) return (who) => unrestricted(principalOfWho(who));
  return (who) => {
    if (typeof who !== 'string' && who.actor && !policy.accessOf(who.actor).delegates) {
      throw unauthenticated(
        'CREDENTIALS_DISAGREE',
        `the token of the call is of ${quote(who.principal)}, and the certificate of its connection of ${quote(who.actor.principal)}, who may not call for others`,
      );
    }
    return policy.accessOf(who);
  };
}
