import { createPrng } from './prng.js';
import { runGit } from './synthetic-repository.js';

/** What a repository with files that change is to be like. */
export type ContentHistory = {
  readonly path: string;
  readonly commits: number;
  /** Files, in 125 directories; each has about 15 KB of text. */
  readonly files: number;
  readonly branches: number;
};

const linesOfFile = 300;
const changedLines = 5;
const changedFiles = 2;

/** Makes a bare repository in which every commit changes a few lines of a few files, in one pack of deltas; the same arguments give the same. */
export async function makeContentRepository(history: ContentHistory): Promise<void> {
  const { path } = history;
  await runGit('.', ['init', '--quiet', '--bare', '--initial-branch=main', path]);
  await runGit(path, ['fast-import', '--quiet', '--done'], fastImport(history, 0, history.commits));
  await runGit(path, ['repack', '-adfq', '--depth=50', '--window=10']);
}

/** Adds so many commits to `main` of a repository that was made so. */
export async function addCommits(history: ContentHistory, commits: number): Promise<void> {
  await runGit(history.path, ['fast-import', '--quiet', '--done'], fastImport(history, history.commits, commits));
}

function* fastImport({ files, branches }: ContentHistory, first: number, commits: number): Generator<string> {
  const random = createPrng(first + 1);
  const pick = (count: number) => Math.floor(random() * count);
  const words = Array.from({ length: 2_000 }, () => pick(2 ** 40).toString(36));
  const line = () => Array.from({ length: 8 }, () => words[pick(words.length)]).join(' ');
  const contents = Array.from({ length: files }, () => Array.from({ length: linesOfFile }, line));
  for (let number = 0; number < commits; number++) {
    const message = `Change ${first + number}\n`;
    let text = `commit refs/heads/main\nmark :${number + 1}\ncommitter Ada Example <ada@example.com> ${1_000_000_000 + (first + number) * 60} +0000\n`;
    text += `data ${message.length}\n${message}`;
    if (number === 0 && first > 0) text += 'from refs/heads/main^0\n';
    const touched = number === 0 ? contents.keys() : Array.from({ length: changedFiles }, () => pick(files));
    for (const file of touched) {
      const lines = contents[file] ?? [];
      for (let i = 0; i < changedLines; i++) lines[pick(linesOfFile)] = line();
      const content = `${lines.join('\n')}\n`;
      text += `M 100644 inline d${file % 25}/e${file % 5}/f${file}.txt\ndata ${content.length}\n${content}\n`;
    }
    yield text;
  }
  let text = '';
  for (let i = 0; first === 0 && i < branches; i++)
    text += `reset refs/heads/topic/${i}\nfrom :${1 + pick(commits)}\n\n`;
  yield `${text}done\n`;
}
