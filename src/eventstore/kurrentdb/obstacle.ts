import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Endpoint, KurrentUrl } from './url.js';
import type { KurrentTls } from './url-parameters.js';

/**
 * What keeps a node from being used: `refused` if only another setting, certificate or server can help, `away` if it may be gone another
 * time, `silent` if it only did not answer in time.
 */
export type Obstacle = { readonly kind: 'refused' | 'away' | 'silent'; readonly why: string };

/** The connection preface of HTTP/2 and empty settings (RFC 9113, section 3.4), and the type of the frame that must answer it. */
const preface = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
const settingsFrame = 4;
/** The type of a TLS record that is an alert (RFC 8446, section 5.1). */
const tlsAlert = 21;

/** Why no HTTP/2 can be spoken with a node, as far as can be told within so many milliseconds; undefined if it can. */
export function obstacleAt(node: Endpoint, { tls }: KurrentUrl, milliseconds: number): Promise<Obstacle | undefined> {
  return new Promise((resolve) => {
    let connected = false;
    const socket: Socket = connectPlain(node);
    let over: Socket | TLSSocket = socket;
    const end = (obstacle?: Obstacle) => {
      clearTimeout(timer);
      over.destroy();
      socket.destroy();
      resolve(obstacle);
    };
    const timer = setTimeout(() => {
      const why = connected ? 'it takes connections and does not answer' : 'it does not answer';
      end({ kind: 'silent', why });
    }, milliseconds);
    socket.once('connect', () => {
      connected = true;
      if (tls) {
        over = secured(socket, node, tls);
        over.once('secureConnect', () => over.write(preface));
      } else {
        over.write(preface);
      }
      over.once('data', (bytes: Buffer) => end(answerObstacle(bytes)));
      over.once('error', (error) => end(tls ? tlsObstacle(error, tls) : brokenOff(false)));
      over.once('close', () => end(brokenOff(tls !== undefined)));
    });
    socket.once('error', (error) => connected || end(connectObstacle(error)));
  });
}

function secured(socket: Socket, { host }: Endpoint, tls: KurrentTls): TLSSocket {
  return connectTls({
    socket,
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ALPNProtocols: ['h2'],
    rejectUnauthorized: tls.verify,
    ca: tls.ca,
    cert: tls.certificate,
    key: tls.key,
  });
}

/** What is wrong with the first bytes that a server answers the preface of HTTP/2 with. */
function answerObstacle(bytes: Buffer): Obstacle | undefined {
  if (bytes.subarray(0, 5).toString('latin1') === 'HTTP/') {
    return { kind: 'refused', why: 'it speaks HTTP/1 and not HTTP/2, as KurrentDB does' };
  }
  if (bytes[0] === tlsAlert && bytes[1] === 3) return { kind: 'refused', why: 'it wants TLS: leave tls=false out' };
  if (bytes[3] === settingsFrame) return undefined;
  return { kind: 'refused', why: 'what listens there is no KurrentDB: it does not speak HTTP/2' };
}

function connectObstacle(error: NodeJS.ErrnoException): Obstacle {
  switch (error.code) {
    case 'ENOTFOUND':
      return { kind: 'away', why: 'no host has this name' };
    case 'EAI_AGAIN':
      return { kind: 'away', why: 'the host name cannot be looked up now' };
    case 'ECONNREFUSED':
      return { kind: 'away', why: 'nothing listens there (ECONNREFUSED)' };
    default:
      return { kind: 'away', why: `it cannot be connected to (${error.code ?? error.message})` };
  }
}

function brokenOff(tls: boolean): Obstacle {
  const hint = tls ? 'is it without TLS (tls=false)?' : 'does it want TLS (without tls=false)?';
  return { kind: 'away', why: `it breaks the connection off; if it always does, ${hint}` };
}

/** Codes of Node.js for a certificate that no known authority has signed. */
const unknownAuthority = [
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
];

function tlsObstacle(error: NodeJS.ErrnoException, tls: KurrentTls): Obstacle {
  const { code = '' } = error;
  const refused = (why: string): Obstacle => ({ kind: 'refused', why });
  if (unknownAuthority.includes(code)) {
    const of = tls.ca ? 'the authority in tlsCAFile' : 'an authority that is known: name its file with tlsCAFile';
    return refused(`its certificate is not of ${of} (${code})`);
  }
  if (code === 'CERT_HAS_EXPIRED') return refused('its certificate, or one above it, has expired');
  if (code === 'CERT_NOT_YET_VALID') return refused('its certificate, or one above it, is not valid yet');
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const { cert } = error as { cert?: { subjectaltname?: string } };
    return refused(`its certificate is for other names: ${cert?.subjectaltname ?? 'none'}`);
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') return brokenOff(true);
  if (/ALERT_NO_APPLICATION_PROTOCOL/.test(code)) return refused('it does not speak HTTP/2, as KurrentDB does');
  if (/ALERT/.test(code)) return refused(`it refuses TLS as Memoir speaks it, or wants a userCertFile (${code})`);
  if (/^(ERR_SSL_|EPROTO)/.test(code)) return refused(`it does not speak TLS (${code}): does it want tls=false?`);
  return refused(`TLS with it fails: ${code || error.message}`);
}
