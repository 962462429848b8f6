import type { Leaves } from './leaves.js';

/** What a job computes, and with what, as far as it is compared. */
export type Compared = {
  readonly scriptVersion: string;
  /** Of what it sees of the commit; empty where that is all of it. */
  readonly codeDigest: string;
  readonly dockerImageLocator: string;
  readonly arvadosSdkVersion: string;
  readonly leaves: Leaves;
};

/** One thing in which two jobs differ. */
export type Difference = {
  /** The field of the job. */
  readonly field:
    | 'script_version'
    | 'code_digest'
    | 'docker_image_locator'
    | 'arvados_sdk_version'
    | 'script_parameters';
  /** JSON pointer of a parameter; empty for other fields. */
  readonly pointer: string;
  /** What the past job has: JSON of a parameter, else text; undefined where it has no such parameter. */
  readonly past: string | undefined;
  /** What is asked for. */
  readonly asked: string | undefined;
};

/** In what a past job differs from what is asked for: parameters first, by the order of their pointers. */
export function differencesOf(past: Compared, asked: Compared): readonly Difference[] {
  const pointers = new Set([...past.leaves.keys(), ...asked.leaves.keys()]);
  const parameters = [...pointers]
    .filter((pointer) => past.leaves.get(pointer) !== asked.leaves.get(pointer))
    .sort()
    .map((pointer) => ({
      field: 'script_parameters' as const,
      pointer,
      past: past.leaves.get(pointer),
      asked: asked.leaves.get(pointer),
    }));
  // Where a job sees a part of the commit, it is that which counts.
  const whole = past.codeDigest === '' && asked.codeDigest === '';
  const code: Difference = whole
    ? { field: 'script_version', pointer: '', past: past.scriptVersion, asked: asked.scriptVersion }
    : { field: 'code_digest', pointer: '', past: past.codeDigest, asked: asked.codeDigest };
  const others: readonly Difference[] = [
    code,
    { field: 'docker_image_locator', pointer: '', past: past.dockerImageLocator, asked: asked.dockerImageLocator },
    { field: 'arvados_sdk_version', pointer: '', past: past.arvadosSdkVersion, asked: asked.arvadosSdkVersion },
  ];
  return [...parameters, ...others.filter((one) => one.past !== one.asked)];
}
