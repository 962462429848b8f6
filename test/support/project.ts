import { makeRepository, type TestRepository } from './git-repository.js';

/** A small real repository: two commits that change `run.sh`. */
export type Project = {
  readonly repository: TestRepository;
  /** Commit of branch `old` and tag `v1` (annotated), in 40 hexadecimal digits. */
  readonly first: string;
  /** Commit of branch `main`. */
  readonly second: string;
};

/** Makes the repository, with these scripts too; equal hashes every time. */
export function makeProject(scripts: readonly string[] = []): Project {
  const repository = makeRepository();
  const more = Object.fromEntries(scripts.map((name) => [name, '#!/bin/sh\n']));
  const first = repository.commit({ ...more, 'run.sh': '#!/bin/sh\necho one\n' });
  repository.git('branch', 'old');
  repository.git('tag', '--annotate', '--message=one', 'v1');
  const second = repository.commit({ 'run.sh': '#!/bin/sh\necho two\n' });
  return { repository, first, second };
}
