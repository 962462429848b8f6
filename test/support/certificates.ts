import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A key and a certificate of it, as PEM. */
export type KeyAndCertificate = { readonly key: Buffer; readonly certificate: Buffer };

/** An authority that is known to nobody else, made by openssl. */
export type Authority = {
  /** File of its own certificate. */
  readonly caFile: string;
  /** Its own certificate, as PEM. */
  ca(): Buffer;
  /** A certificate for these names, such as `IP:127.0.0.1` or `DNS:node1`, now or in a time that is over, for a common name. */
  certify(names: string, when?: 'now' | 'past', commonName?: string): KeyAndCertificate;
  dispose(): void;
};

const settings = (directory: string) => `
[ca]
default_ca = own
[own]
database = ${directory}/index
rand_serial = yes
new_certs_dir = ${directory}
certificate = ${directory}/ca.pem
private_key = ${directory}/ca-key.pem
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
`;

/** Makes an authority in a directory of its own. */
export function makeAuthority(): Authority {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-tls-'));
  const file = (name: string) => join(directory, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const newKey = (name: string) => {
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    return [...curve, '-nodes', '-keyout', file(name)];
  };
  writeFileSync(file('settings'), settings(directory));
  writeFileSync(file('index'), '');
  openssl('req', '-x509', ...newKey('ca-key.pem'), '-out', file('ca.pem'), '-subj', '/CN=test authority', '-days', '2');
  return {
    caFile: file('ca.pem'),
    ca: () => readFileSync(file('ca.pem')),
    certify(names, when = 'now', commonName = 'node') {
      openssl('req', ...newKey('key.pem'), '-out', file('request.pem'), '-subj', `/CN=${commonName}`);
      writeFileSync(file('extensions'), `basicConstraints=CA:FALSE\nsubjectAltName=${names}\n`);
      const time = when === 'now' ? ['-days', '2'] : ['-startdate', '200101000000Z', '-enddate', '200102000000Z'];
      const files = ['-in', file('request.pem'), '-out', file('node.pem'), '-extfile', file('extensions')];
      openssl('ca', '-batch', '-notext', '-config', file('settings'), ...time, ...files);
      return { key: readFileSync(file('key.pem')), certificate: readFileSync(file('node.pem')) };
    },
    dispose: () => rmSync(directory, { recursive: true }),
  };
}
