import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openRepositories } from '../../src/git/repositories.js';
import { searchLane } from '../../src/git/search/search-lane.js';
import { makeRepository, type TestRepository } from '../support/git-repository.js';

/** Work that goes on until it is told. */
function work(name: string, begun: string[]) {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return {
    run: async () => {
      begun.push(name);
      await ended;
      return name;
    },
    end: () => end(),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('two run at a time, and those who ask take turns, each with the first of its own', async (t) => {
  const lane = searchLane(2);
  const begun: string[] = [];
  const works = new Map(['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].map((name) => [name, work(name, begun)]));
  const done = Array.from(works, ([name, { run }]) => lane.run({ principal: name.charAt(0) }, run));
  await turn();
  t.deepEqual(begun, ['a1', 'a2']);
  for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'a4', 'b2']) {
    works.get(name)?.end();
    await turn();
  }
  t.deepEqual(begun, ['a1', 'a2', 'a3', 'b1', 'c1', 'a4', 'b2']);
  t.deepEqual(await Promise.all(done), [...works.keys()]);
});

test('what nobody waits for any more is not begun, and gives its place up when it ends', async (t) => {
  const lane = searchLane(1);
  const begun: string[] = [];
  const [first, second, third] = [work('a', begun), work('b', begun), work('c', begun)];
  const gone = new AbortController();
  const one = lane.run({ principal: 'x' }, first.run);
  const two = lane.run({ principal: 'x', signal: () => gone.signal }, second.run);
  const three = lane.run({ principal: 'x' }, third.run);
  gone.abort();
  const failed = (what: Promise<unknown>) =>
    what.then(
      () => '',
      (error: Error) => error.name,
    );
  t.is(await failed(two), 'AbortError');
  t.is(await failed(lane.run({ principal: 'y', signal: () => gone.signal }, second.run)), 'AbortError');
  const four = lane.run(undefined, () => Promise.reject(new RangeError('it failed')));
  first.end();
  third.end();
  t.is(await one, 'a');
  t.is(await three, 'c');
  t.is(await failed(four), 'RangeError');
  t.is(await lane.run({ principal: 'z' }, async () => 'd'), 'd');
  t.deepEqual(begun, ['a', 'c']);
});

test('a search in messages ends when nobody waits for it', async (t) => {
  const repository = makeRepository({ bare: true });
  t.teardown(repository.dispose);
  // Each of 8,000 commits is read before it is known that none has the text.
  const commits = Array.from({ length: 8_000 }, (_, i) => {
    const from = i === 0 ? '' : `from :${i}\n`;
    return `commit refs/heads/main\nmark :${i + 1}\ncommitter A <a@example.com> ${1_700_000_000 + i} +0000\ndata 1\nx\n${from}\n`;
  });
  repository.gitWithInput(commits.join(''), 'fast-import', '--quiet');
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  await repositories.resolve('r', 'main');
  const gone = new AbortController();
  const asking = repositories.askedBy({ principal: 'a', signal: () => gone.signal });
  const abandoned = Array.from({ length: 12 }, () => asking.resolve('r', ':/nothing'));
  const ended = Promise.allSettled(abandoned);
  await repositories.resolve('r', 'main~20');
  gone.abort();
  const outcomes = await ended;
  t.deepEqual(
    outcomes.map((one) => one.status === 'rejected' && (one.reason as Error).name),
    abandoned.map(() => 'AbortError'),
  );
  // Whoever asks then does not wait for them.
  await t.throwsAsync(repositories.resolve('r', ':/nothing'), { message: /finds no commit with such a message/ });
});

/** What git makes of a search. */
function askGit(repository: TestRepository, text: string): string | undefined {
  try {
    return repository.git('rev-parse', '--verify', '--quiet', text);
  } catch {
    return undefined;
  }
}

test('what was searched once is remembered, and a search finds what git finds, also among what came since', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  const agree = async (texts: readonly string[]) => {
    for (const text of texts) {
      t.is(await repositories.resolve('r', text).catch(() => undefined), askGit(repository, text), text);
    }
  };
  const texts = [':/needle', ':/nothing', ':/^First', ':/zero', ':/behind', ':/!-e', ':/s[^e]*$', 'main^{/First}'];
  const first = repository.commit({ file: '1' }, 'First');
  repository.commit({ file: '2' }, 'A needle');
  await agree(texts);
  // git takes a message for a C string.
  const tree = repository.git('write-tree');
  const author = 'A <a@example.com> 1900000000 +0000';
  const zero = Buffer.from(`tree ${tree}\nauthor ${author}\ncommitter ${author}\n\nwith a zero\0 behind it\n`);
  const id = repository.gitWithInput(zero, 'hash-object', '-t', 'commit', '--literally', '-w', '--stdin');
  repository.git('update-ref', 'refs/heads/zero', id);
  await agree(texts);
  t.is(await repositories.resolve('r', ':/zero'), id);
  repository.commit({ file: '3' }, 'Another needle');
  await agree(texts);
  repository.git('repack', '-adq');
  await agree(texts);
  // What no ref reaches is found no more, though it is remembered.
  repository.git('reset', '--quiet', '--hard', first);
  await agree(texts);
  t.is(await repositories.resolve('r', ':/needle').catch(() => undefined), undefined);
  // Behind the cut of a shallow repository nothing is found, nor once it was there.
  repository.commit({ file: '4' }, 'After the cut');
  await agree([':/First', ':/cut']);
  writeFileSync(join(repository.path, '.git/shallow'), `${repository.git('rev-parse', 'main')}\n`);
  await agree([':/First', ':/cut']);
  t.is(await repositories.resolve('r', ':/First').catch(() => undefined), undefined);
});
