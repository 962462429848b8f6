import { userInfo } from 'node:os';

/** Name of the operating system user; `uid-` and its number where it has none, as in a container. */
export function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}
