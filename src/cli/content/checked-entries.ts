import { type OutputEntry, OutputEntry_Kind } from '../../../gen/memoir/content/v1/content_service_pb.js';
import { badName } from '../../content/trees/check-directory.js';
import { upsOf } from '../../content/trees/link-target.js';
import { treeLimits } from '../../content/trees/tree-limits.js';
import { MemoirError, quote } from '../../domain/errors.js';

/**
 * Looks whether entries can be made in a directory without leaving it, whatever server told of them: no path that climbs, none twice, nothing
 * below a file or a link, no link that leads out.
 * @throws MemoirError DATA_LOSS BAD_TREE naming the path
 */
export function checkEntries(entries: readonly OutputEntry[]): void {
  const kinds = new Map(entries.map(({ path, kind }) => [path, kind]));
  if (kinds.size < entries.length) throw bad('', 'some path is there twice');
  if (entries.length > treeLimits.entries) throw bad('', `it has more than ${treeLimits.entries} entries`);
  for (const { path, kind, target, digest } of entries) {
    const parts = path.split('/');
    for (const part of parts) {
      const why = badName(part);
      if (why !== undefined) throw bad(path, `the name ${quote(part)} ${why}`);
    }
    for (let i = 1; i < parts.length; i++) {
      const above = parts.slice(0, i).join('/');
      if ((kinds.get(above) ?? OutputEntry_Kind.DIRECTORY) !== OutputEntry_Kind.DIRECTORY) {
        throw bad(path, `${quote(above)} is no directory`);
      }
    }
    if (kind === OutputEntry_Kind.SYMLINK) {
      if ((upsOf(target) ?? Number.POSITIVE_INFINITY) > parts.length - 1) {
        throw bad(path, `it is a link to ${quote(target)}, which leads out`);
      }
    } else if (kind === OutputEntry_Kind.FILE) {
      if (!digest || !/^[0-9a-f]{64}$/.test(digest.hash)) throw bad(path, 'it is a file without a digest');
    } else if (kind !== OutputEntry_Kind.DIRECTORY) throw bad(path, 'it is nothing that can be made');
  }
}

function bad(path: string, why: string): MemoirError {
  return new MemoirError(
    'DATA_LOSS',
    'BAD_TREE',
    `the server tells of ${quote(path)} in an output that is none: ${why}`,
  );
}
