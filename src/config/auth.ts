import * as z from 'zod';

/** A name by which a source of principals stands in settings, principals and the log. */
const sourceName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'give small letters, digits and "-"');

/** How a principal is made of a name that a source gives. */
const template = z
  .string()
  .regex(/^[\x21-\x7e]{2,200}$/, 'give printable ASCII characters')
  .refine((text) => text.split('{}').length === 2, 'give it with "{}" once, in the place of the name');

/** An authority that certificates of clients are from. */
const clientAuthority = z
  .strictObject({
    /** PEM file of its certificate, or of several that replace each other. */
    file: z.string().min(1),
    /** What in a certificate names its client: its only URI, DNS name, or common name. */
    san: z.enum(['uri', 'dns', 'cn']),
    /** Trust domain of SPIFFE that the URI must be of. */
    trust_domain: z
      .string()
      .regex(/^[a-z0-9._-]{1,255}$/, 'give small letters, digits, ".", "_" and "-"')
      .optional(),
    /** Principal by that name; absent for the authority's name, ":" and "{}". */
    principal: template.optional(),
    /** File of serial numbers that are denied, in hexadecimal digits, one a line. */
    denied: z.string().min(1).optional(),
  })
  .refine(
    ({ san, trust_domain }) => (san === 'uri') === (trust_domain !== undefined),
    'give trust_domain with san = "uri", and only there',
  );

/** What the port encrypts with. */
export const tlsConfig = z.strictObject({
  /** PEM file of the certificate, and those between it and its authority. */
  cert: z.string().min(1),
  /** PEM file of its private key. */
  key: z.string().min(1),
  /** Authorities of clients' certificates, by name. */
  client_ca: z.record(sourceName, clientAuthority).default({}),
});

export type TlsConfig = z.output<typeof tlsConfig>;
export type ClientAuthority = z.output<typeof clientAuthority>;

/** Algorithms of signatures with a public key. Others would make a secret of a key that everybody has. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;

/** Hosts whose addresses are of this machine. */
const local = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/;

/** Where the keys of an issuer are: a URL that nobody on the way can change, or a file. */
const keys = z
  .string()
  .min(1)
  .refine((text) => {
    if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return true;
    const url = URL.canParse(text) ? new URL(text) : undefined;
    return url?.protocol === 'https:' || (url?.protocol === 'http:' && local.test(url.hostname));
  }, 'give a file, or a URL that begins with https://');

/** Who signs tokens (JWT). Times are in seconds. */
const issuer = z.strictObject({
  /** Its name in the claim `iss`. */
  issuer: z.string().min(1),
  /** Its public keys as a JWK set: an `https:` URL, or a file. */
  jwks: keys,
  /** What tokens must be for: one of these in the claim `aud`. */
  audience: z.array(z.string().min(1)).min(1),
  /** Algorithms that it signs by. */
  algorithms: z.array(z.enum(algorithms)).min(1).default(['RS256', 'ES256']),
  /** What tokens call themselves in `typ`, one of these, in any case and with or without `application/`. */
  types: z.array(z.string().min(1)).min(1).default(['JWT', 'at+jwt']),
  /** How far its clock may be from the server's. */
  clock_tolerance: z.number().min(0).max(300).default(30),
  /** Longest time that a token may be good for. */
  longest_lifetime: z.number().min(60).max(31_536_000).default(86_400),
  /** Claim that names the principal. */
  principal_claim: z.string().min(1).default('sub'),
  /** Claim with the groups, a text or several. */
  groups_claim: z.string().min(1).default('groups'),
  /** Groups of the policy that its tokens may put a principal in. */
  groups: z.array(z.string().min(1)).default([]),
  /** Principal by the claim's text; absent for the issuer's name here, ":" and "{}". */
  principal: template.optional(),
  /** How old the keys of a URL become before they are asked for again. */
  refresh_keys: z.number().min(0.1).max(86_400).default(600),
  /** How old they may become while the issuer is away. */
  accept_stale_keys: z.number().min(0).max(31_536_000).default(86_400),
});

/** What tells who calls, beside certificates. */
export const authConfig = z.strictObject({
  /** File of tokens, as `memoir token` makes it. */
  tokens: z.string().min(1).optional(),
  /** Principal by the name that a token was made with. */
  token_principal: template.default('token:{}'),
  /** Issuers of tokens, by name. */
  issuers: z.record(sourceName, issuer).default({}),
  /** Whether health is told to everybody, as what watches over servers needs it, where all other calls need a credential. */
  open_health: z.boolean().default(true),
});

export type AuthConfig = z.output<typeof authConfig>;
export type IssuerConfig = z.output<typeof issuer>;
