import { chmod, lstat, readdir, rm } from 'node:fs/promises';

/**
 * Removes a directory with all that is in it, also directories that a script has locked.
 * @throws Error of the file system if that is not possible
 */
export async function removeTree(directory: string): Promise<void> {
  const options = { recursive: true, force: true, maxRetries: 3 };
  try {
    await rm(directory, options);
  } catch {
    await unlock(Buffer.from(directory));
    await rm(directory, options);
  }
}

async function unlock(path: Buffer): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isDirectory()) return;
  await chmod(path, 0o700);
  for (const name of await readdir(path, { encoding: 'buffer' })) {
    await unlock(Buffer.concat([path, Buffer.from('/'), name]));
  }
}
