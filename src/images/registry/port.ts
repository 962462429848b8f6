/** An image that a registry has. */
export type RegistryImage = {
  /** "<host>/<name>@<digest>". */
  readonly locator: string;
  /** Digest of its manifest: "sha256:" and 64 lower-case hexadecimal digits. */
  readonly hash: string;
};

/** A registry that is asked what tags name. */
export type Registry = {
  /** Its name in the configuration. */
  readonly name: string;
  /** Whether jobs are refused while it cannot be asked; otherwise the newest registered image is taken. */
  readonly needed: boolean;
  /**
   * What a tag or digest names in a repository; undefined if the registry has no such. Answers are as old as is
   * configured at most; a registry that cannot be asked is left alone for some seconds.
   * @throws RegistryProblem if the registry cannot be asked or its answer cannot be trusted
   */
  ask(repository: string, reference: string): Promise<RegistryImage | undefined>;
};

/** The registries by the repositories that they are asked for. */
export type Registries = {
  /** The registry to ask for a repository: that of the longest prefix; undefined if there is none. */
  of(repository: string): Registry | undefined;
};

/** Why a registry did not say what a reference names, for people. Holds nothing that is secret. */
export class RegistryProblem extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'RegistryProblem';
  }
}
