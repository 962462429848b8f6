import type { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Http2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import type { ClientAuthority } from '../config/auth.js';
import { type Credential, unauthenticated } from '../domain/callers/credential.js';
import { isPrincipal, isReserved, parseTemplate, principalBy } from '../domain/callers/principal.js';
import { MemoirError, messageOf, quote } from '../domain/errors.js';
import { watchFiles } from '../files/watched-files.js';
import { clientName } from './subject.js';
import { certificatesIn } from './tls-files.js';

/** Most certificates between that of a client and its authority. */
const mostBetween = 8;

/** The certificates of clients. */
export type Certificates = {
  /**
   * What the certificate of a connection proves; undefined if it has none. Found once for each connection.
   * @throws MemoirError UNAUTHENTICATED if it cannot be used
   */
  of(session: Http2Session): Credential | undefined;
  close(): void;
};

type Known = {
  /** Authorities by the fingerprint of a certificate of theirs. */
  readonly anchors: ReadonlyMap<string, { readonly authority: string; readonly certificate: X509Certificate }>;
  /** Serial numbers that an authority's certificates are denied by. */
  readonly denied: ReadonlyMap<string, ReadonlySet<string>>;
};

/**
 * Tells clients by their certificates. Authorities and denied numbers are read again when their files change, and count at once, for connections that
 * are open too.
 * @throws Error naming a file and what is wrong in it
 */
export function openCertificates(authorities: Readonly<Record<string, ClientAuthority>>, logger: Logger): Certificates {
  let known = read(authorities);
  const files = Object.values(authorities).flatMap(({ file, denied }) => [file, ...(denied ? [denied] : [])]);
  const watch = watchFiles(files, {
    changed() {
      known = read(authorities);
      logger.info({ files }, 'the authorities of clients, and the certificates that are denied, were read again');
    },
    failed: (error) =>
      logger.error({ files, err: error }, 'the changed authorities or denied certificates cannot be used'),
  });
  const proven = new WeakMap<Http2Session, Credential | MemoirError | 'none'>();

  function proof(session: Http2Session): Credential | MemoirError | 'none' {
    const socket = session.socket as TLSSocket;
    const certificate = socket.getPeerX509Certificate?.();
    if (!certificate) return 'none';
    // What OpenSSL found of the whole chain, for the purpose of a client.
    if (!socket.authorized) return unusable(String(socket.authorizationError));
    try {
      return credentialOf(certificate);
    } catch (error) {
      return unusable(error);
    }
  }

  function credentialOf(certificate: X509Certificate): Credential {
    const { fingerprint, chain } = anchorOf(certificate);
    const { authority } = known.anchors.get(fingerprint) as { authority: string };
    const settings = authorities[authority] as ClientAuthority;
    const name = clientName(certificate.raw, settings);
    const principal = principalBy(parseTemplate(settings.principal ?? `${authority}:{}`), name);
    if (!isPrincipal(principal) || isReserved(principal)) throw new Error('what it names can be no principal');
    const serial = serialOf(certificate.serialNumber);
    // Whose number is denied between a client and its authority takes all below along.
    const serials = chain.slice(0, -1).map(({ serialNumber }) => serialOf(serialNumber));
    return {
      kind: 'certificate',
      id: `${authority}/${serial}`,
      principal,
      groups: [],
      expiresAt: Math.min(...chain.map(({ validTo }) => Date.parse(validTo))),
      stands: () => known.anchors.has(fingerprint) && !serials.some((one) => known.denied.get(authority)?.has(one)),
    };
  }

  /** The nearest authority above a certificate, by signatures. @throws Error if there is none */
  function anchorOf(certificate: X509Certificate): { fingerprint: string; chain: readonly X509Certificate[] } {
    const chain = [certificate];
    for (let at = certificate; chain.length <= mostBetween + 1; ) {
      for (const [fingerprint, { certificate: anchor }] of known.anchors) {
        if (at.checkIssued(anchor) && at.verify(anchor.publicKey)) return { fingerprint, chain: [...chain, anchor] };
      }
      const next = at.issuerCertificate;
      if (!next?.ca || next.fingerprint256 === at.fingerprint256 || !at.verify(next.publicKey)) break;
      at = next;
      chain.push(at);
    }
    throw new Error('it is of no authority that clients are known by');
  }

  return {
    of(session) {
      let found = proven.get(session);
      if (found === undefined) {
        found = proof(session);
        proven.set(session, found);
      }
      if (found instanceof MemoirError) throw found;
      return found === 'none' ? undefined : found;
    },
    close: () => watch.close(),
  };
}

function unusable(cause: unknown): MemoirError {
  // Whoever has a certificate can read when it ends.
  return cause === 'CERT_HAS_EXPIRED'
    ? unauthenticated('CERTIFICATE_EXPIRED', 'the certificate of the connection has expired')
    : unauthenticated(
        'INVALID_CERTIFICATE',
        'the certificate of the connection is none that this server accepts',
        cause,
      );
}

function read(authorities: Readonly<Record<string, ClientAuthority>>): Known {
  const anchors = new Map<string, { authority: string; certificate: X509Certificate }>();
  const denied = new Map<string, ReadonlySet<string>>();
  for (const [authority, { file, denied: list }] of Object.entries(authorities)) {
    for (const certificate of certificatesIn(file)) {
      const before = anchors.get(certificate.fingerprint256);
      if (before && before.authority !== authority) {
        throw new Error(
          `${quote(file)} has a certificate of ${quote(before.authority)} too, so that its clients cannot be told`,
        );
      }
      anchors.set(certificate.fingerprint256, { authority, certificate });
    }
    if (list !== undefined) denied.set(authority, deniedIn(list));
  }
  return { anchors, denied };
}

/** Serial numbers in a file, one a line; what is behind "#" is for people. */
function deniedIn(path: string): ReadonlySet<string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`${quote(path)} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  const lines = text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
  const wrong = lines.find((line) => !/^[0-9a-fA-F]{1,2}(:?[0-9a-fA-F]{1,2})*$/.test(line));
  if (wrong !== undefined) throw new Error(`${quote(path)}: ${quote(wrong)} is no serial number in hexadecimal digits`);
  return new Set(lines.map(serialOf));
}

/** A serial number in one form, however it is written. */
const serialOf = (text: string): string =>
  text
    .replaceAll(':', '')
    .toLowerCase()
    .replace(/^0+(?=.)/, '');
