import { createHash } from 'node:crypto';
import { quote } from '../../domain/errors.js';
import { imageHash } from '../../domain/image-name.js';
import { type Challenge, challengesOf } from './challenge.js';
import { type Answer, type Bounds, checkUrl, send } from './http.js';
import { RegistryProblem } from './port.js';

/** Largest manifest, in bytes: the limit that registries have by the distribution specification. */
const manifestLimit = 4 * 1024 * 1024;

/** Largest other answer, in bytes. */
const answerLimit = 64 * 1024;

/** What a tag may name: images, and lists of images for several platforms. */
const mediaTypes: readonly string[] = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

/** A registry and one question to it. */
export type Question = {
  readonly bounds: Bounds;
  readonly credentials?: { readonly username: string; readonly password: string } | undefined;
  /** Name of the repository at the registry. */
  readonly name: string;
  /** A tag or digest. */
  readonly reference: string;
  /** Whether a digest was checked before, so that its manifest need not be read again. */
  readonly isKnown: (digest: string) => boolean;
};

/**
 * The digest of the manifest that a tag or digest names, by the OCI distribution API
 * (https://github.com/opencontainers/distribution-spec/blob/main/spec.md); undefined if there is none. The digest is that of the
 * manifest's bytes, whatever the registry says it is, unless it was checked before.
 * @throws RegistryProblem if the registry cannot be asked or its answer cannot be trusted
 */
export async function manifestDigest(question: Question): Promise<string | undefined> {
  const head = await authorized('HEAD', question);
  if (head.status === 404) return undefined;
  const said = head.status === 200 ? saidDigest(head) : undefined;
  if (said !== undefined && question.isKnown(said)) return said;
  // Some registries know no HEAD; the answer to GET is what counts in any case.
  const got = await authorized('GET', question);
  if (got.status === 404) return undefined;
  if (got.status !== 200) throw new RegistryProblem(`it answers with status ${got.status}`);
  return checkedDigest(got, question.reference);
}

function checkedDigest(answer: Answer, reference: string): string {
  const type = (answer.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? '';
  if (!mediaTypes.includes(type)) throw new RegistryProblem(`it answers with a manifest of type ${quote(type, 100)}`);
  const digest = `sha256:${createHash('sha256').update(answer.body).digest('hex')}`;
  const said = saidDigest(answer);
  if (said !== undefined && said !== digest) {
    throw new RegistryProblem(`it says that the manifest's digest is ${said}, but it is ${digest}`);
  }
  if (imageHash(reference) !== undefined && reference !== digest) {
    throw new RegistryProblem(`it answers with manifest ${digest} for ${reference}`);
  }
  return digest;
}

/** The digest that the answer's header gives; undefined if it gives none, or one that is not of SHA-256. */
function saidDigest({ headers }: Answer): string | undefined {
  const header = headers.get('docker-content-digest') ?? '';
  return header.startsWith('sha256:') ? imageHash(header) : undefined;
}

/** Asks for the manifest, and once more with what the registry wants to see for it. */
async function authorized(method: 'GET' | 'HEAD', question: Question): Promise<Answer> {
  const { bounds, name, reference } = question;
  const url = new URL(`/v2/${name}/manifests/${reference}`, bounds.origin);
  const request = { method, url, headers: { accept: mediaTypes.join(', ') } } as const;
  const limit = method === 'HEAD' ? answerLimit : manifestLimit;
  const first = await send(request, bounds, limit);
  if (first.status !== 401) return first;
  const authorization = await authorizationFor(challengesOf(first.headers.get('www-authenticate') ?? ''), question);
  const second = await send({ ...request, authorization }, bounds, limit);
  if (second.status === 401 || second.status === 403) throw new RegistryProblem('it denies access');
  return second;
}

async function authorizationFor(challenges: readonly Challenge[], question: Question): Promise<string> {
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
  if (bearer) return `Bearer ${await tokenFor(bearer, question)}`;
  const basic = basicOf(question);
  if (challenges.some(({ scheme }) => scheme === 'basic') && basic !== undefined) return basic;
  throw new RegistryProblem(
    `it wants to know who asks, and ${basic ? 'not by a password' : 'no password is configured'}`,
  );
}

/** A token for reading the repository (https://distribution.github.io/distribution/spec/auth/token/). */
async function tokenFor({ parameters }: Challenge, question: Question): Promise<string> {
  const realm = parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) throw new RegistryProblem(`it names ${quote(realm)} for tokens, which is no URL`);
  const url = new URL(realm);
  // Checked before the password is looked at: it must go nowhere else.
  checkUrl(url, question.bounds);
  const service = parameters.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  // What the registry asks for is not looked at: it might be more than reading this repository.
  url.searchParams.set('scope', `repository:${question.name}:pull`);
  const answer = await send({ method: 'GET', url, authorization: basicOf(question) }, question.bounds, answerLimit);
  if (answer.status !== 200) throw new RegistryProblem(`no token is given: status ${answer.status}`);
  return readToken(answer.body);
}

function readToken(body: Buffer): string {
  let token: unknown;
  try {
    const json = JSON.parse(body.toString()) as { token?: unknown; access_token?: unknown } | null;
    token = json?.token ?? json?.access_token;
  } catch {
    token = undefined;
  }
  if (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new RegistryProblem('the answer to the request for a token holds none');
}

function basicOf({ credentials }: Question): string | undefined {
  if (!credentials) return undefined;
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}
