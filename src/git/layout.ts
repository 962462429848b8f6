import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { MemoirError, quote } from '../domain/errors.js';
import { readGitConfig } from './config-file.js';
import { fileKind } from './file-kind.js';
import { type HashAlgorithm, sha1, sha256 } from './hash.js';
import { errno } from './problem.js';

/** Where a repository keeps its things, and in which form. */
export type Layout = {
  /** The name under which the repository is configured. */
  readonly name: string;
  /** What belongs to this work tree: HEAD and the refs of the work tree. */
  readonly gitDir: string;
  /** What all work trees share: refs, packed-refs, objects, configuration. The same as `gitDir` in a main work tree. */
  readonly commonDir: string;
  /** The object directory; alternates are named inside of it. */
  readonly objectDir: string;
  readonly hash: HashAlgorithm;
  /** How refs are kept: in files of their own and `packed-refs`, or in reftables, as git does by default from version 3 on. */
  readonly refStorage: 'files' | 'reftable';
  /** Name of the remote that git would fetch missing objects from, if the repository is a partial clone (git-clone(1), `--filter`). */
  readonly partialOf?: string;
};

/** What is to be added where an object is missing: nothing, or that the repository was never meant to have all. */
export function whyMissing({ partialOf }: Pick<Layout, 'partialOf'>): string {
  return partialOf === undefined
    ? ''
    : `: the repository is a partial clone, and what it lacks is at its remote ${quote(partialOf)}, where Memoir does not look`;
}

const knownExtensions = new Set([
  'noop',
  'noop-v1',
  'objectformat',
  'partialclone',
  'preciousobjects',
  'refstorage',
  'relativeworktrees',
  'worktreeconfig',
]);

/**
 * The layout of the local repository at a path: a bare one, a work tree with `.git` in it (a directory, or a file that points
 * to one), or such a file itself.
 * @throws MemoirError FAILED_PRECONDITION, naming name and path: NOT_A_REPOSITORY, or UNSUPPORTED_REPOSITORY for a format that
 * Memoir cannot read
 */
export function readLayout(name: string, path: string): Layout {
  const where = `repository ${quote(name)} at ${quote(path)}`;
  const refuse = (reason: string, what: string, cause?: unknown) =>
    new MemoirError('FAILED_PRECONDITION', reason, `${where} ${what}`, {
      metadata: { repository: name, path },
      ...(cause === undefined ? {} : { cause }),
    });
  const notOne = (why: string, cause?: unknown) => refuse('NOT_A_REPOSITORY', `is not a git repository: ${why}`, cause);
  try {
    if (path.includes('\0') || path === '') throw notOne('not a path');
    const gitDir = findGitDir(path, notOne);
    const commonDir = pointer(join(gitDir, 'commondir'), gitDir) ?? gitDir;
    if (!fileKind(join(gitDir, 'HEAD'))) throw notOne(`${quote(gitDir)} has no HEAD`);
    for (const part of ['objects', 'refs']) {
      if (fileKind(join(commonDir, part)) !== 'directory')
        throw notOne(`${quote(commonDir)} has no directory "${part}"`);
    }
    const unsupported = (what: string) => refuse('UNSUPPORTED_REPOSITORY', `cannot be read: ${what}`);
    return { name, gitDir, commonDir, objectDir: join(commonDir, 'objects'), ...readFormat(commonDir, unsupported) };
  } catch (error) {
    if (error instanceof MemoirError) throw error;
    throw notOne(errno(error) ?? String(error), error);
  }
}

function findGitDir(path: string, notOne: (why: string) => MemoirError): string {
  const at = resolve(path);
  const own = fileKind(at);
  if (own === undefined) throw notOne('no such file or directory');
  const dotGit = own === 'file' ? at : join(at, '.git');
  const inside = own === 'file' ? 'file' : fileKind(dotGit);
  if (inside === 'directory') return dotGit;
  if (inside !== 'file') return at;
  const text = smallFile(dotGit);
  if (!text.startsWith('gitdir: ')) throw notOne(`${quote(dotGit)} does not say "gitdir: "`);
  const target = resolve(dotGit, '..', text.slice('gitdir: '.length).trimEnd());
  if (fileKind(target) !== 'directory')
    throw notOne(`${quote(dotGit)} points to ${quote(target)}, which is no directory`);
  return target;
}

function readFormat(
  commonDir: string,
  unsupported: (what: string) => MemoirError,
): Pick<Layout, 'hash' | 'refStorage' | 'partialOf'> {
  const config = readGitConfig(fileKind(join(commonDir, 'config')) ? smallFile(join(commonDir, 'config')) : '');
  const version = config.get('core.repositoryformatversion') ?? '0';
  if (version !== '0' && version !== '1') throw unsupported(`repository format version ${quote(version)}`);
  for (const key of config.keys()) {
    if (!key.startsWith('extensions.')) continue;
    const extension = key.slice('extensions.'.length);
    if (version === '1' && !knownExtensions.has(extension)) throw unsupported(`extension ${quote(extension)}`);
  }
  const refStorage = config.get('extensions.refstorage') ?? 'files';
  if (refStorage !== 'files' && refStorage !== 'reftable') throw unsupported(`refs are kept as ${quote(refStorage)}`);
  const format = version === '1' ? (config.get('extensions.objectformat') ?? 'sha1') : 'sha1';
  const partialOf = promisorOf(config);
  const partial = partialOf === undefined ? {} : { partialOf };
  if (format === 'sha1') return { hash: sha1, refStorage, ...partial };
  if (format === 'sha256') return { hash: sha256, refStorage, ...partial };
  throw unsupported(`object format ${quote(format)}`);
}

/** The remote that has what a partial clone lacks. */
function promisorOf(config: ReadonlyMap<string, string>): string | undefined {
  const named = config.get('extensions.partialclone');
  if (named) return named;
  for (const [key, value] of config) {
    const remote = /^remote\.(.*)\.promisor$/s.exec(key)?.[1];
    if (remote !== undefined && /^(true|yes|on|1)$/i.test(value)) return remote;
  }
  return undefined;
}

function pointer(file: string, base: string): string | undefined {
  return fileKind(file) === 'file' ? resolve(base, smallFile(file).trimEnd()) : undefined;
}

/** A file that people and git keep small; a huge one in its place is not read into memory. */
function smallFile(path: string): string {
  const { size } = statSync(path);
  if (size > 1024 * 1024) throw new Error(`${path} has ${size} bytes`);
  return readFileSync(path, 'utf8');
}
