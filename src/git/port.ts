/** What a caller asked for, so that an error can name the field. */
export type ResolveOptions = {
  /** Request field that holds the refspec; `script_version` unless given. */
  readonly field?: string;
};

/** The configured git repositories as the rest of Memoir sees them. */
export type Repositories = {
  /** Names of the configured repositories, sorted. */
  names(): readonly string[];
  /**
   * The commit, in lower-case hexadecimal digits, that a refspec names in a repository now. Nothing is cached that a moved ref
   * would make wrong.
   * @throws MemoirError INVALID_ARGUMENT: UNKNOWN_REPOSITORY, BAD_REFSPEC (no refspec that names one commit), or
   * UNRESOLVABLE_REFSPEC, each naming the value; UNAVAILABLE REPOSITORY_UNAVAILABLE if the repository cannot be read now
   */
  resolve(repository: string, refspec: string, options?: ResolveOptions): Promise<string>;
  /** Lets go of open files and threads. */
  close(): Promise<void>;
};
