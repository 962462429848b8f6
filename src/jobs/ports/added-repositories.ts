import type { AddedPlace } from '../../domain/repositories/added-place.js';
import type { RepositorySet } from '../../domain/repositories/repository-set.js';

/** What a server has of repositories beside those that are added while it runs. */
export type RepositoryPlaces = {
  /** Whether a name is in the configuration. */
  isConfigured(name: string): boolean;
  /** The address below which a credential of the configuration is sent; undefined if there is no such credential. */
  credentialUrl(name: string): string | undefined;
  /**
   * Opens a repository to see whether that can be done. Gives the directories that are read of a local one.
   * @throws MemoirError FAILED_PRECONDITION if it cannot
   */
  check(name: string, place: AddedPlace): Promise<readonly string[]>;
  /** Has the repositories of a set from now on, beside those of the configuration. */
  have(set: RepositorySet): Promise<void>;
  /** The set that it has. */
  set(): RepositorySet;
};
