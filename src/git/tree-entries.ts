import { MemoirError, quote } from '../domain/errors.js';
import { checkoutLimits } from './checkout-limits.js';

/** What a tree says of one of its entries. */
export type TreeEntry = {
  readonly kind: 'tree' | 'file' | 'executable' | 'symlink' | 'submodule';
  /** Name in the tree: bytes, usually UTF-8, without "/" or NUL. */
  readonly name: Buffer;
  /** Object id, in hexadecimal digits. */
  readonly oid: string;
};

/** Type bits of a mode (inode(7)). */
const typeBits = 0o170000;

/**
 * What git makes of a mode in a tree, whoever wrote it (`canon_mode` of its tree walk): octal digits, leading zeros or not, of which
 * the type counts, and of a regular file whether its owner may execute it. What has none of the four types is no mode here; git
 * takes it for a submodule.
 */
function kindOf(mode: string): TreeEntry['kind'] | undefined {
  if (!/^[0-7]{1,11}$/.test(mode)) return undefined;
  const bits = Number.parseInt(mode, 8);
  switch (bits & typeBits) {
    case 0o100000:
      return (bits & 0o100) === 0 ? 'file' : 'executable';
    case 0o120000:
      return 'symlink';
    case 0o040000:
      return 'tree';
    case 0o160000:
      return 'submodule';
    default:
      return undefined;
  }
}

/**
 * The entries of a tree object, whose names are safe to create in a directory. `where` names the tree in errors. With `wants` it is those whose
 * names, bytes as latin1, it wants, and what else is there does not matter.
 * @throws MemoirError DATA_LOSS MALFORMED_TREE; FAILED_PRECONDITION UNSAFE_TREE naming the entry: a name that is empty, ".", "..",
 * ".git" in any case or with a "/", or that comes twice; RESOURCE_EXHAUSTED TREE_TOO_LARGE if it has more than a checkout may have
 */
export function treeEntries(
  content: Uint8Array,
  oidBytes: number,
  where: string,
  wants?: (name: string) => boolean,
): readonly TreeEntry[] {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  const entries: TreeEntry[] = [];
  const names = new Set<string>();
  let count = 0;
  for (let at = 0; at < bytes.length; ) {
    if (++count > checkoutLimits.entries) throw tooLarge(where);
    const space = bytes.indexOf(0x20, at);
    const nul = space < 0 ? -1 : bytes.indexOf(0, space + 1);
    if (nul < 0 || nul + 1 + oidBytes > bytes.length) throw malformed(where, `it ends within an entry at byte ${at}`);
    const key = bytes.toString('latin1', space + 1, nul);
    if (wants && !wants(key)) {
      at = nul + 1 + oidBytes;
      continue;
    }
    const mode = bytes.toString('latin1', at, space);
    const kind = kindOf(mode);
    const name = bytes.subarray(space + 1, nul);
    if (!kind) throw malformed(where, `${quote(name.toString())} has the unknown mode ${quote(mode, 12)}`);
    checkName(key, name, where);
    if (names.has(key)) throw unsafe(where, name, 'comes twice');
    names.add(key);
    at = nul + 1 + oidBytes;
    entries.push({ kind, name, oid: bytes.toString('hex', nul + 1, at) });
  }
  return entries;
}

function checkName(key: string, name: Buffer, where: string): void {
  if (key === '' || key === '.' || key === '..') throw unsafe(where, name, 'is no name of a file');
  if (key.toLowerCase() === '.git') throw unsafe(where, name, "is the name of git's own directory");
  if (key.includes('/')) throw unsafe(where, name, 'holds a "/"');
}

function malformed(where: string, what: string): MemoirError {
  return new MemoirError('DATA_LOSS', 'MALFORMED_TREE', `${where} is malformed: ${what}`);
}

function tooLarge(where: string): MemoirError {
  const what = `${where} has more than ${checkoutLimits.entries} entries`;
  return new MemoirError('RESOURCE_EXHAUSTED', 'TREE_TOO_LARGE', what);
}

function unsafe(where: string, name: Buffer, what: string): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'UNSAFE_TREE',
    `${where} cannot be checked out: the name ${quote(name.toString())} in it ${what}`,
  );
}
