/**
 * How many directories above its own the target of a symbolic link begins; undefined if it is not in the form that links of a tree have:
 * relative, and with ".." only at its beginning, so that no link on the way can lead out of the tree.
 */
export function upsOf(target: string): number | undefined {
  if (target === '' || target.startsWith('/') || target.includes('\0')) return undefined;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const ups = parts.findIndex((part) => part !== '..');
  if (ups === -1) return parts.length;
  return parts.includes('..', ups) ? undefined : ups;
}
