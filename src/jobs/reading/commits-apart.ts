import type { Repositories } from '../../git/port.js';

/** How far a commit is from another: in its history, itself included, and not in that of the other, and the other way round. */
export type Apart = { readonly ahead: number; readonly behind: number };

/** How far a commit is from another; undefined for the same one, and if that cannot be told now, whatever the reason. */
export async function commitsApart(
  { range }: Pick<Repositories, 'range'>,
  repository: string,
  commit: string,
  other: string,
): Promise<Apart | undefined> {
  if (commit === other) return undefined;
  const field = 'script_version';
  // A minimum is in its range itself, whether the end reaches it or not.
  const only = async (end: string, minimum: string) =>
    (await range(repository, { end: { refspec: end, field }, minimum: { refspec: minimum, field } })).size - 1;
  try {
    return { ahead: await only(commit, other), behind: await only(other, commit) };
  } catch {
    return undefined;
  }
}
