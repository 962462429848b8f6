import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicConstraints,
  Certificate,
  id_ce_basicConstraints,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  KeyUsage,
  KeyUsageFlags,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import type { ClientAuthority } from '../config/auth.js';

/** Object identifier of a common name. */
const commonName = '2.5.4.3';

/** A SPIFFE ID: trust domain, and path without empty parts and such that are made of dots. */
const spiffe =
  /^spiffe:\/\/([a-z0-9._-]{1,255})\/((?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*)$/;

/** Uses of a key that make an authority of who has it. */
const signing = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign;

const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/**
 * The name of a client by its certificate, which is read as DER, since a name in a text of it could look like several (CVE-2021-44532). Of what the authority's
 * setting says there must be exactly one, and nothing else is looked at.
 * @throws Error saying what is wrong, without what the certificate says
 */
export function clientName(
  der: Uint8Array,
  { san, trust_domain }: Pick<ClientAuthority, 'san' | 'trust_domain'>,
): string {
  const { tbsCertificate } = AsnConvert.parse(der, Certificate);
  if (san === 'cn') {
    const names = tbsCertificate.subject.flatMap((parts) => parts.filter(({ type }) => type === commonName));
    return one(
      names.map(({ value }) => value.toString()),
      'common name',
    );
  }
  const withId = (id: string) => (tbsCertificate.extensions ?? []).filter(({ extnID }) => extnID === id);
  const extensions = withId(id_ce_subjectAltName);
  if (extensions.length > 1) throw new Error('it has several extensions of alternative names');
  const names = extensions.flatMap(({ extnValue }) => [...AsnConvert.parse(extnValue, SubjectAlternativeName)]);
  if (san === 'dns') {
    const name = one(
      names.flatMap(({ dNSName }) => (dNSName === undefined ? [] : [dNSName])),
      'DNS name',
    ).toLowerCase();
    if (!hostName.test(name)) throw new Error('its DNS name is none of one host');
    return name;
  }
  const uri = one(
    names.flatMap(({ uniformResourceIdentifier: uri }) => (uri === undefined ? [] : [uri])),
    'URI',
  );
  // X509-SVID, section 5.2: what may sign others is nobody's identity.
  const signs =
    withId(id_ce_basicConstraints).some(({ extnValue }) => AsnConvert.parse(extnValue, BasicConstraints).cA) ||
    withId(id_ce_keyUsage).some(({ extnValue }) => AsnConvert.parse(extnValue, KeyUsage).toNumber() & signing);
  if (signs) throw new Error('it may sign others');
  const [, domain, path] = spiffe.exec(uri) ?? [];
  if (path === undefined) throw new Error('its URI is no SPIFFE ID');
  if (domain !== trust_domain) throw new Error('its URI is of another trust domain');
  return path;
}

function one(names: readonly string[], what: string): string {
  const [name, ...more] = names;
  if (name === undefined || more.length > 0) throw new Error(`it has ${names.length} of what must be one ${what}`);
  return name;
}
