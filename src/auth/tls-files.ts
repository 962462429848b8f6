import { constants, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { TlsConfig } from '../config/auth.js';
import { messageOf, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { watchFiles } from '../files/watched-files.js';

/** With what a port encrypts. */
export type TlsFiles = {
  readonly credentials: ServerCredentials;
  /** Ends the watch over the files. */
  close(): void;
};

/**
 * What a gRPC server encrypts with, by contexts that can be renewed while it runs. A class of its own, since neither of those of grpc-js does for a port
 * that takes certificates or tokens: `createSsl` demands a certificate of everybody or asks for none, and the form with providers
 * (`createCertificateProviderServerCredentials`) has no say in the version of TLS, in how long a handshake may take, nor in resumption, and drops
 * every new connection while one of its files cannot be read.
 */
class RenewableCredentials extends ServerCredentials {
  constructor(context: SecureContextOptions, asksForCertificates: boolean, handshakeTimeout: number) {
    // Whether a certificate is good is judged with the first call, so that its refusal can say why.
    super({ requestCert: asksForCertificates, rejectUnauthorized: false, handshakeTimeout }, context);
  }

  renew(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/**
 * Reads certificate, key and authorities of clients, and again when they change: connections that are open go on, new ones are made with the
 * new files. Files that do not fit together are logged, and those before go on.
 * A client may take `handshakeMs` milliseconds to agree on how to encrypt.
 * @throws Error naming the file and what is wrong with it
 */
export function openTlsFiles(tls: TlsConfig, handshakeMs: number, edge: Edge, logger: Logger): TlsFiles {
  const authorities = Object.values(tls.client_ca).map(({ file }) => file);
  const files = [tls.cert, tls.key, ...authorities];

  function read(): SecureContextOptions {
    const context = contextOf(tls, authorities);
    const [{ validTo }] = certificatesIn(tls.cert) as [X509Certificate, ...X509Certificate[]];
    if (Date.parse(validTo) < edge.now()) {
      logger.warn({ path: tls.cert, validTo }, 'the certificate of the server has expired');
    }
    return context;
  }

  const credentials = new RenewableCredentials(read(), authorities.length > 0, handshakeMs);
  const watch = watchFiles(files, {
    changed() {
      credentials.renew(read());
      logger.info({ files }, 'the files of TLS were read again');
    },
    failed: (error) =>
      logger.error({ files, err: error }, 'the changed files of TLS cannot be used; those before go on'),
  });
  return { credentials, close: () => watch.close() };
}

function contextOf({ cert, key }: TlsConfig, authorities: readonly string[]): SecureContextOptions {
  for (const file of authorities) certificatesIn(file);
  const context: SecureContextOptions = {
    cert: readFile(cert),
    key: readFile(key),
    ...(authorities.length > 0 && { ca: authorities.map(readFile) }),
    minVersion: 'TLSv1.2',
    // A resumed connection would know its client by what was found good before, and not the certificates between.
    ...(authorities.length > 0 && { secureOptions: constants.SSL_OP_NO_TICKET }),
  };
  certificatesIn(cert);
  try {
    createSecureContext(context);
  } catch (error) {
    throw new Error(`tls.cert ${quote(cert)} and tls.key ${quote(key)} cannot be used together: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return context;
}

/** The certificates of a PEM file, of which there is at least one. @throws Error naming the file */
export function certificatesIn(path: string): readonly X509Certificate[] {
  const pem = readFile(path).toString('latin1');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error(`${quote(path)} has no certificate in PEM form`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw new Error(`${quote(path)} has no certificate that can be read: ${messageOf(error)}`, { cause: error });
  }
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${quote(path)} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
