import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createPrng } from './prng.js';

/** What a synthetic repository is to be like. */
export type SyntheticHistory = {
  readonly path: string;
  readonly commits: number;
  /** Refs beside `main`, half of them annotated tags. */
  readonly refs: number;
};

/** Every so many commits a side line of up to so many commits is merged. */
const mergeEvery = 8;
const longestSideLine = 5;

/** Runs git and gives what it prints. */
export async function runGit(
  path: string,
  args: readonly string[],
  input?: Iterable<string | Buffer>,
): Promise<string> {
  const child = spawn('git', args, { cwd: path, stdio: ['pipe', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (input) {
    for (const text of input) if (!child.stdin.write(text)) await once(child.stdin, 'drain');
  }
  child.stdin.end();
  const [code] = await exit;
  if (code !== 0) throw new Error(`git ${args.join(' ')} ended with ${code}`);
  return Buffer.concat(chunks).toString('utf8').replace(/\n$/, '');
}

/**
 * Some of all commits, evenly spread and in no order of meaning. They are picked from the stream, as a list of all would leave
 * much for the garbage collector to do in what is measured afterwards.
 */
export async function sampleCommits(path: string, every: number): Promise<string[]> {
  const child = spawn('git', ['rev-list', '--all'], { cwd: path, stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const sample: string[] = [];
  let rest = Buffer.alloc(0);
  let line = 0;
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    let at = 0;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, at)) {
      if (line++ % every === 0) sample.push(rest.toString('latin1', at, end));
      at = end + 1;
    }
    rest = rest.subarray(at);
  }
  const [code] = await exit;
  if (code !== 0) throw new Error(`git rev-list ended with ${code}`);
  return sample;
}

/** Makes a bare repository with a history of merged side lines by `git fast-import`; the same arguments give the same hashes. */
export async function makeSyntheticRepository({ path, commits, refs }: SyntheticHistory): Promise<void> {
  await runGit('.', ['init', '--quiet', '--bare', '--initial-branch=main', path]);
  await runGit(path, ['fast-import', '--quiet', '--done'], fastImport(commits, refs));
}

function* fastImport(commits: number, refs: number): Generator<string> {
  const random = createPrng(1);
  let text = '';
  let mark = 0;
  let date = 1_000_000_000;
  const commit = (branch: string, parents: readonly number[], number: number) => {
    date += Math.floor(random() * 600);
    const message = `Change ${number}\n\nWhat the change is for, in a line of about usual length.\n`;
    text += `commit refs/heads/${branch}\nmark :${++mark}\ncommitter Ada Example <ada@example.com> ${date} +0000\n`;
    text += `data ${message.length}\n${message}`;
    if (parents[0] !== undefined) text += `from :${parents[0]}\n`;
    for (const other of parents.slice(1)) text += `merge :${other}\n`;
    if (number % 16 === 0) text += `M 100644 inline file-${number % 1024}\ndata ${String(number).length}\n${number}\n`;
    return mark;
  };
  let main = commit('main', [], 0);
  while (mark < commits) {
    if (mark % mergeEvery !== 0 || mark + longestSideLine + 1 > commits) main = commit('main', [main], mark);
    else {
      let side = main;
      const length = 1 + Math.floor(random() * longestSideLine);
      for (let i = 0; i < length; i++) side = commit('side', [side], mark);
      main = commit('main', [main], mark);
      main = commit('main', [main, side], mark);
    }
    if (text.length > 65_536) {
      yield text;
      text = '';
    }
  }
  text += 'reset refs/heads/side\nfrom 0000000000000000000000000000000000000000\n';
  for (let i = 0; i < refs; i++) {
    const at = 1 + Math.floor(random() * mark);
    if (i % 2) text += `tag release-${i}\nfrom :${at}\ntagger Ada Example <ada@example.com> ${date} +0000\ndata 1\nr\n`;
    else text += `reset refs/heads/topic/${i}\nfrom :${at}\n\n`;
  }
  yield `${text}done\n`;
}
