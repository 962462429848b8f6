import type { TestRepository } from './git-repository.js';

/** What a commit changes at a path: a file, a symbolic link, a submodule, or nothing any more. */
export type TreeChange = {
  readonly path: string;
  readonly mode: '100644' | '100755' | '120000' | '160000' | 'D';
  /** Content of a file, target of a link, commit of a submodule. */
  readonly content: string;
};

/** Writes commits, each with changes to the one before, by one `git fast-import`, and gives their ids. */
export function writeTrees(repository: TestRepository, history: readonly (readonly TreeChange[])[]): string[] {
  const before = repository.git('for-each-ref', 'refs/heads/tree*').split('\n').filter(Boolean).length;
  const changed = ({ path, mode, content }: TreeChange) => {
    if (mode === 'D') return `D ${path}`;
    if (mode === '160000') return `M 160000 ${content} ${path}`;
    return `M ${mode} inline ${path}\ndata ${Buffer.byteLength(content)}\n${content}`;
  };
  const lines = history.map((changes, n) => [
    `commit refs/heads/tree${before + n}`,
    `mark :${n + 1}`,
    `committer Ada Example <ada@example.com> ${1_700_000_000 + n} +0000`,
    'data 0',
    ...(n === 0 ? [] : [`from :${n}`]),
    ...changes.map(changed),
    '',
  ]);
  repository.gitWithInput(lines.flat().join('\n'), 'fast-import', '--quiet');
  const refs = repository.git('for-each-ref', '--format=%(refname:lstrip=2) %(objectname)', 'refs/heads/tree*');
  const ids = new Map(refs.split('\n').map((line) => line.split(' ') as [string, string]));
  return history.map((_, n) => ids.get(`tree${before + n}`) as string);
}

/** Changes that write files. */
export function filesOf(files: Readonly<Record<string, string>>): TreeChange[] {
  return Object.entries(files).map(([path, content]) => ({
    path,
    mode: content.startsWith('#!') ? '100755' : '100644',
    content,
  }));
}
