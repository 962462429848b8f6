import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deployFolder } from './unit-file.js';

/** Settings of Memoir that the image has in its environment. */
export function imageEnvironment(): Readonly<Record<string, string>> {
  const text = readFileSync(join(deployFolder, 'container/Containerfile'), 'utf8');
  return Object.fromEntries(
    [...text.matchAll(/\b(MEMOIR_\w+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
  );
}
