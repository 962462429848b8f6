import { hash } from 'node:crypto';
import type { JsonObject } from '@bufbuild/protobuf';
import canonicalize from 'canonicalize';
import { parse } from 'uuid';

/** Namespace of job uuids (RFC 9562, version 5). Fixed for ever. */
export const memoirNamespace = '6474a05f-fc92-48bb-bbc8-600098820550';

const namespaceBytes = parse(memoirNamespace);

/** What a job computes. */
export type Computation = {
  readonly repository: string;
  readonly script: string;
  /** Checked by `checkCanonicalisable`. */
  readonly scriptParameters: JsonObject;
};

/** SHA-256 of the value's RFC 8785 (JCS) form in UTF-8, in 64 lower-case hexadecimal digits. The value must have such a form. */
export function jcsDigest(value: JsonObject): string {
  return sha256(canonicalize(value) as string);
}

/** Identity of what is computed, in 64 hexadecimal digits: equal for equal work, whatever the order of the parameters' names. */
export function computationDigest(computation: Computation): string {
  return jcsDigest({
    repository: computation.repository,
    script: computation.script,
    script_parameters: computation.scriptParameters,
  });
}

/** Digests of what a request computes, in 64 hexadecimal digits each. */
export type ComputationDigests = {
  /** Digest of the parameters alone. */
  readonly parameters: string;
  /** `computationDigest`. */
  readonly computation: string;
};

/** Both digests for the price of one canonical form of the parameters, and whether a string among them may name content (`maybeInputs`). */
export function computationDigests({
  repository,
  script,
  scriptParameters,
}: Computation): ComputationDigests & { readonly mayNameContent: boolean } {
  const parameters = canonicalize(scriptParameters) as string;
  const [name, path] = [canonicalize(repository), canonicalize(script)];
  return {
    parameters: sha256(parameters),
    computation: sha256(`{"repository":${name},"script":${path},"script_parameters":${parameters}}`),
    mayNameContent: parameters.includes('"sha256:'),
  };
}

/** Uuid of run `runNumber` (from 1) of a computation. */
export function jobUuid(computationDigest: string, runNumber: number): string {
  // As RFC 9562, section 5.5, has it: `v5` of uuid takes ten times as long, since it goes by single bytes.
  const bytes = hash(
    'sha1',
    Buffer.concat([namespaceBytes, Buffer.from(`${computationDigest}/${runNumber}`)]),
    'buffer',
  );
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = bytes.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function sha256(text: string): string {
  return hash('sha256', text);
}
