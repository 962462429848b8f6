import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { CodeEntry } from '../../src/domain/code/code-digest.js';
import { MemoirError } from '../../src/domain/errors.js';
import { checkout } from '../../src/git/checkout.js';
import { checkoutLimits } from '../../src/git/checkout-limits.js';
import { openRepositories } from '../../src/git/repositories.js';
import { treeEntries } from '../../src/git/tree-entries.js';
import { makeRepository, type TestRepository } from '../support/git-repository.js';

// Trees of a billion entries that are made of a dozen objects, and of directories without end, wherever trees are walked.

type Entry = readonly [mode: string, name: string, oid: string];

function raw({ gitWithInput }: TestRepository, type: string, content: Buffer): string {
  return gitWithInput(content, 'hash-object', '-w', '--literally', '-t', type, '--stdin');
}

const bytesOf = ([mode, name, oid]: Entry): Buffer =>
  Buffer.concat([Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, 'hex')]);

const treeOf = (repository: TestRepository, entries: readonly Entry[]): string =>
  raw(repository, 'tree', Buffer.concat(entries.map(bytesOf)));

const ten = (entry: (i: number) => Entry): Entry[] => Array.from({ length: 10 }, (_, i) => entry(i));

/** 10^9 entries in ten trees. What is at the bottom is a link that stays inside, so that no tree is done with at a look. */
function billion(repository: TestRepository, content: string): string {
  const link = raw(repository, 'blob', Buffer.from(content));
  let tree = treeOf(
    repository,
    ten((i) => ['120000', `l${i}`, link]),
  );
  for (let level = 1; level < 9; level++) {
    const inner = tree;
    tree = treeOf(
      repository,
      ten((i) => ['40000', `d${i}`, inner]),
    );
  }
  return tree;
}

/** A tree of directories in each other, at the bottom of which is a file. */
function deep(repository: TestRepository, levels: number, content: string): string {
  const head = `commit refs/heads/deep-${content}\ncommitter A <a@example.com> 1700000000 +0000\ndata 0\n`;
  const file = `M 100644 inline ${'d/'.repeat(levels)}f\ndata ${content.length}\n${content}\n`;
  repository.gitWithInput(head + file, 'fast-import', '--quiet');
  return repository.git('rev-parse', `deep-${content}^{tree}`);
}

function commitOf(repository: TestRepository, tree: string): string {
  const who = 'A <a@example.com> 1700000000 +0000';
  return raw(repository, 'commit', Buffer.from(`tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nx\n`));
}

async function scene(t: ExecutionContext) {
  const repository = makeRepository();
  const directory = mkdtempSync(join(tmpdir(), 'memoir-bombs-'));
  const repositories = await openRepositories({ r: { path: repository.path } }, { directory });
  t.teardown(async () => {
    await repositories.close();
    repository.dispose();
    rmSync(directory, { recursive: true, force: true });
  });
  return { repository, repositories, directory };
}

const reasonOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error) => {
      if (error instanceof MemoirError) return error.reason;
      throw error;
    },
  );

test('a tree of a billion entries that a dozen objects make is no work without end anywhere', async (t) => {
  const { repository, repositories, directory } = await scene(t);
  const [bomb, other] = [billion(repository, 'l0'), billion(repository, 'l1')];
  const [one, two] = [commitOf(repository, bomb), commitOf(repository, other)];
  const whole = (oid: string): CodeEntry => ({ path: '.', mode: '040000', oid });

  t.is(await reasonOf(repositories.code('r', { commit: one, paths: ['.'], checked: true })), 'CODE_TOO_LARGE');
  t.like(await repositories.code('r', { commit: one, paths: ['.'], checked: false }), { kind: 'code' });
  t.is((await repositories.codeDifference('r', whole(bomb), whole(other)))?.path, `${'d0/'.repeat(8)}l0`);
  const query = { one, other: two, paths: ['.'], most: 1_000_000 };
  const { truncated } = await repositories.changes('r', query, AbortSignal.timeout(100_000));
  t.true(truncated);
  t.true(await repositories.isPlain('r', one));
  t.like(await repositories.script('r', one, 'no/such.sh'), { kind: 'missing' });
  t.like(await repositories.script('r', one, `${'d3/'.repeat(8)}l7`), { kind: 'missing' });
  // What is kept are the objects, of which there are few.
  const { objects } = await repositories.keep(
    'r',
    one,
    '0190a3b4-0000-7000-8000-000000000001',
    new AbortController().signal,
  );
  t.is(objects, 11);
  const target = join(directory, 'tree');
  t.is(await reasonOf(checkout(repository.path, one, target, { limits: { entries: 2_000 } })), 'CHECKOUT_TOO_LARGE');
  t.is(await reasonOf(checkout(repository.path, one, `${target}2`, { limits: { depth: 8 } })), 'CHECKOUT_TOO_LARGE');
});

test('directories in each other without end are told as what they are, everywhere', async (t) => {
  const { repository, repositories, directory } = await scene(t);
  const [bomb, other] = [deep(repository, 1_900, '1'), deep(repository, 1_900, '2')];
  const [one, two] = [commitOf(repository, bomb), commitOf(repository, other)];
  const whole = (oid: string): CodeEntry => ({ path: '.', mode: '040000', oid });

  t.is(await reasonOf(repositories.code('r', { commit: one, paths: ['.'], checked: true })), 'CODE_TOO_LARGE');
  const inside = Array.from({ length: checkoutLimits.depth }, () => 'd').join('/');
  t.is((await repositories.codeDifference('r', whole(bomb), whole(other)))?.path, inside);
  const empty = treeOf(repository, []);
  t.is((await repositories.codeDifference('r', whole(bomb), whole(empty)))?.path, inside);
  t.is((await repositories.codeDifference('r', whole(empty), whole(bomb)))?.path, inside);
  const query = { one, other: two, paths: ['.'], most: 1_000 };
  t.true((await repositories.changes('r', query, AbortSignal.timeout(100_000))).truncated);
  t.true(await repositories.isPlain('r', one));
  t.like(await repositories.script('r', one, `${'d/'.repeat(1_900)}f`), { kind: 'file' });
  const uuid = '0190a3b4-0000-7000-8000-000000000001';
  t.is(await reasonOf(repositories.keep('r', one, uuid, new AbortController().signal)), 'KEEP_TOO_LARGE');
  t.is(await reasonOf(checkout(repository.path, one, join(directory, 'tree'))), 'CHECKOUT_TOO_LARGE');
});

test('links that lead to and fro through a large directory read it once', async (t) => {
  const { repository, repositories } = await scene(t);
  const file = raw(repository, 'blob', Buffer.from('x'));
  const large = treeOf(
    repository,
    Array.from({ length: 20_000 }, (_, i): Entry => ['100644', `f${String(i).padStart(6, '0')}`, file]),
  );
  const links = Array.from({ length: 38 }, (_, i): Entry => {
    const target = `${'large/../'.repeat(450)}k${i + 1}`;
    return ['120000', `k${i}`, raw(repository, 'blob', Buffer.from(target))];
  });
  const rest: Entry[] = [['100644', 'k38', file]];
  const root = treeOf(
    repository,
    [...links, ...rest, ['40000', 'large', large] as const].sort(([, a], [, b]) => (a < b ? -1 : 1)),
  );
  const commit = commitOf(repository, root);
  const begun = process.cpuUsage();
  t.like(await repositories.script('r', commit, 'k0'), { kind: 'file' });
  const { user, system } = process.cpuUsage(begun);
  // It is gone through 17,100 times.
  t.true(user + system < 10e6, `${user + system} microseconds`);
});

test('a directory with more entries than a checkout may have is not taken into memory', (t) => {
  const entry = bytesOf(['100644', 'f', '00'.repeat(20)]);
  const content = Buffer.alloc(entry.length * (checkoutLimits.entries + 1), entry);
  const seen = { names: 0 };
  const refused = { instanceOf: MemoirError, message: /tree x has more than 1000000 entries/ };
  t.throws(
    () =>
      treeEntries(content, 20, 'tree x', () => {
        seen.names++;
        return false;
      }),
    refused,
  );
  t.is(seen.names, checkoutLimits.entries);
  t.is(treeEntries(content.subarray(entry.length), 20, 'tree x', () => false).length, 0);
});
