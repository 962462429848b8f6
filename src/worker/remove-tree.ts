import { chmod, lstat, readdir, rename, rm } from 'node:fs/promises';

/** Longest path that is worked with, in bytes: a part of it and its name stay below what systems take, 4,096 or 1,024. */
const longestPath = 700;

/**
 * Removes a directory with all that is in it, also directories that a script has locked, and trees so deep that their paths are longer
 * than the system takes.
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

/** Makes all directories under one searchable; those whose paths are long are moved up into it. */
async function unlock(top: Buffer): Promise<void> {
  let moved = 0;
  const left = [top];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isDirectory()) continue;
    if ((found.mode & 0o700) !== 0o700) await chmod(path, 0o700);
    for (const entry of await readdir(path, { encoding: 'buffer', withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const inside = within(path, entry.name);
      if (inside.length - top.length <= longestPath) {
        left.push(inside);
        continue;
      }
      const to = within(top, Buffer.from(`.memoir-deep-${moved++}`));
      // A directory that is locked cannot be moved.
      await chmod(inside, 0o700);
      await rename(inside, to);
      left.push(to);
    }
  }
}

function within(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}
