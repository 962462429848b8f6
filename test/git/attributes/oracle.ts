import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gitEnvironment, type TestRepository } from '../../support/git-repository.js';

/** A path, in bytes as latin1, as fast-import and .gitattributes take it: in quotes as C has them. */
export function quoted(path: string): string {
  const escaped = (character: string) =>
    character === '"' || character === '\\'
      ? `\\${character}`
      : `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  return `"${path.replace(/[^ !#-[\]-~]/g, escaped)}"`;
}

/** Commits just these bytes under just these paths, without anything that git does when files are added. */
export function commitRaw(repository: TestRepository, files: Readonly<Record<string, Buffer | string>>): string {
  const parts: Buffer[] = [
    Buffer.from('commit refs/heads/raw\ncommitter A <a@example.com> 1700000000 +0000\ndata 0\ndeleteall\n'),
  ];
  for (const [path, content] of Object.entries(files)) {
    const bytes = Buffer.from(content);
    parts.push(Buffer.from(`M 100644 inline ${quoted(path)}\ndata ${bytes.length}\n`), bytes, Buffer.from('\n'));
  }
  repository.gitWithInput(Buffer.concat(parts), 'fast-import', '--quiet', '--force');
  return repository.git('rev-parse', 'refs/heads/raw');
}

/** What git says that the attributes of paths are, by path: those that anything is said of. */
export function checkAttr(repository: TestRepository, commit: string, paths: readonly string[]) {
  repository.git('read-tree', commit);
  const answer = execFileSync('git', ['check-attr', '--cached', '-z', '--stdin', '--all'], {
    cwd: repository.path,
    env: gitEnvironment(),
    input: Buffer.from(paths.map((path) => `${path}\0`).join(''), 'latin1'),
    encoding: 'latin1',
    maxBuffer: 1024 ** 3,
  });
  const found = new Map(paths.map((path) => [path, {} as Record<string, string>]));
  const fields = answer.split('\0');
  for (let at = 0; at + 2 < fields.length; at += 3) {
    const of = found.get(fields[at] ?? '');
    if (of) of[fields[at + 1] ?? ''] = fields[at + 2] ?? '';
  }
  return found;
}

/** Every file of a commit as git converts it for a work tree, as a whole; in bytes as latin1. (A checkout converts some piece by piece, and misses "$$Id$".) */
export function filtered(repository: TestRepository, commit: string): Map<string, string> {
  // It reads attributes from the work tree alone.
  for (const path of repository
    .git('ls-tree', '-r', '--name-only', commit)
    .split('\n')
    .filter((name) => name.endsWith('.gitattributes'))) {
    mkdirSync(dirname(join(repository.path, path)), { recursive: true });
    writeFileSync(join(repository.path, path), repository.git('cat-file', 'blob', `${commit}:${path}`));
  }
  const listed = repository.git('ls-tree', '-r', '-z', '--format=%(objectname) %(path)', commit).split('\0');
  const names = listed.filter((name) => name !== '');
  const mark = `mark ${'-'.repeat(60)}`;
  const answer = execFileSync('git', ['cat-file', `--batch=${mark}`, '--filters'], {
    cwd: repository.path,
    env: gitEnvironment(),
    input: names.map((name) => `${name}\n`).join(''),
    encoding: 'latin1',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 1024 ** 3,
  });
  const contents = answer.split(`${mark}\n`).slice(1);
  return new Map(names.map((name, i) => [name.slice(name.indexOf(' ') + 1), (contents[i] ?? '').slice(0, -1)]));
}
