import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileKind } from '../file-kind.js';
import type { Layout } from '../layout.js';

const none: ReadonlySet<string> = new Set();

/** Commits of a repository behind which its history is cut off (gitrepository-layout(5), `shallow`); none for a whole one. */
export function readShallow({ commonDir }: Pick<Layout, 'commonDir'>): ReadonlySet<string> {
  const path = join(commonDir, 'shallow');
  if (!fileKind(path)) return none;
  return new Set(readFileSync(path, 'utf8').split('\n').filter(Boolean));
}
