import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runGit } from './synthetic-repository.js';

/** Peak memory of a process that works on a repository with a large pack, and the pack's size, in bytes. */
export type LargePack = { readonly peak: number; readonly packBytes: number };

const blob = 2 ** 20;

/** A commit for each incompressible mebibyte, and a thousand small ones on top, all in one pack. */
function* fastImport(mebibytes: number): Generator<Buffer | string> {
  let date = 1_000_000_000;
  const head = (message: string) =>
    `commit refs/heads/main\ncommitter A <a@b> ${date++} +0000\ndata ${message.length}\n${message}\n`;
  for (let i = 0; i < mebibytes; i++) {
    yield `${head(`blob ${i}`)}M 100644 inline file-${i % 16}\ndata ${blob}\n`;
    yield randomBytes(blob);
    yield '\n';
  }
  for (let i = 0; i < 1_000; i++) yield head(`small ${i}`);
  yield 'done\n';
}

/** Makes a repository with a pack of about so many mebibytes and has a fresh process resolve and range in it. */
export async function measureLargePack(path: string, mebibytes: number): Promise<LargePack> {
  await runGit('.', ['init', '--quiet', '--bare', '--initial-branch=main', path]);
  await runGit(
    path,
    ['-c', 'core.bigFileThreshold=512k', 'fast-import', '--quiet', '--done', '--max-pack-size=100g'],
    fastImport(mebibytes),
  );
  const packs = join(path, 'objects/pack');
  const packBytes = Math.max(...readdirSync(packs).map((file) => statSync(join(packs, file)).size));
  const child = new URL('./git-large-pack-child.js', import.meta.url).pathname;
  const { stdout } = await promisify(execFile)(process.execPath, [child, path]);
  return { peak: Number(stdout), packBytes };
}
