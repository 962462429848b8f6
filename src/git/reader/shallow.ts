import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Layout } from '../layout.js';
import { errno } from '../problem.js';

const none: ReadonlySet<string> = new Set();

/** Commits of a repository behind which its history is cut off (gitrepository-layout(5), `shallow`); none for a whole one. */
export function readShallow({ commonDir }: Pick<Layout, 'commonDir'>): ReadonlySet<string> {
  let text: string;
  try {
    text = readFileSync(join(commonDir, 'shallow'), 'utf8');
  } catch (error) {
    if (errno(error) === 'ENOENT') return none;
    throw error;
  }
  return new Set(text.split('\n').filter(Boolean));
}
