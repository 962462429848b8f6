import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A real repository in a temporary directory, made and asked by the git program. */
export type TestRepository = {
  /** Directory of the work tree, or of the repository itself if it is bare. */
  readonly path: string;
  /** Runs git in the repository and gives what it prints, without the last line end. Throws if git fails. */
  git(...args: string[]): string;
  /** Like `git`, with something on standard input. */
  gitWithInput(input: string | Buffer, ...args: string[]): string;
  /** Writes files, those that begin with "#!" executable, commits them all and gives the commit's hash. */
  commit(files: Readonly<Record<string, string>>, message?: string): string;
  dispose(): void;
};

/** What kind of repository to make. */
export type TestRepositoryOptions = {
  readonly bare?: boolean;
  readonly objectFormat?: 'sha1' | 'sha256';
};

/** Seconds since 1970 of the first commit of every test repository; each further commit is a minute later. */
const firstCommit = 1_700_000_000;

/** Environment of a git that takes nothing from the machine's or the user's configuration. */
export function gitEnvironment(seconds = firstCommit): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: '/nonexistent',
    LC_ALL: 'C.UTF-8',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    // Nothing that git would do beside what it is asked for.
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'maintenance.auto',
    GIT_CONFIG_VALUE_0: 'false',
    GIT_AUTHOR_NAME: 'Ada Example',
    GIT_AUTHOR_EMAIL: 'ada@example.com',
    GIT_AUTHOR_DATE: `${seconds} +0000`,
    GIT_COMMITTER_NAME: 'Ada Example',
    GIT_COMMITTER_EMAIL: 'ada@example.com',
    GIT_COMMITTER_DATE: `${seconds} +0000`,
  };
}

/** Makes an empty repository whose branch is `main`. Authors and dates are fixed, so that equal content gives equal hashes. */
export function makeRepository({ bare = false, objectFormat = 'sha1' }: TestRepositoryOptions = {}): TestRepository {
  const path = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  let commits = 0;

  function run(program: string, args: readonly string[], input: string | Buffer = ''): string {
    return execFileSync(program, args, {
      cwd: path,
      env: gitEnvironment(firstCommit + 60 * commits),
      input,
      encoding: 'utf8',
      maxBuffer: 1024 * 1024 * 1024,
      stdio: ['pipe', 'pipe', 'pipe'],
    }).replace(/\n$/, '');
  }
  const gitWithInput = (input: string | Buffer, ...args: string[]) => run('git', args, input);
  const git = (...args: string[]) => gitWithInput('', ...args);

  git('init', '--quiet', '--initial-branch=main', `--object-format=${objectFormat}`, ...(bare ? ['--bare'] : []));
  return {
    path,
    git,
    gitWithInput,
    commit(files, message = `Commit ${commits + 1}`) {
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(path, name)), { recursive: true });
        writeFileSync(join(path, name), content);
        if (content.startsWith('#!')) chmodSync(join(path, name), 0o755);
      }
      // By one shell, since each program that a large process starts costs it a copy of its tables of pages.
      const commit = 'git add --all && git commit --quiet --allow-empty --message="$1" && git rev-parse HEAD';
      const id = run('sh', ['-c', commit, 'commit', message]);
      commits++;
      return id;
    },
    dispose: () => rmSync(path, { recursive: true, force: true }),
  };
}
