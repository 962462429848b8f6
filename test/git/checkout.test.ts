import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { type CheckoutOptions, checkout } from '../../src/git/checkout.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../support/git-repository.js';

type Entry = readonly [mode: string, name: string | Buffer, oid: string];

function setUp(
  t: ExecutionContext,
  objectFormat: 'sha1' | 'sha256' = 'sha1',
): { repository: TestRepository; scratch: string; target: string } {
  const repository = makeRepository({ objectFormat });
  t.teardown(repository.dispose);
  const scratch = mkdtempSync(join(tmpdir(), 'memoir-checkout-'));
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
  return { repository, scratch, target: join(scratch, 'tree') };
}

function blob(repository: TestRepository, content: string): string {
  return repository.gitWithInput(content, 'hash-object', '-w', '--stdin');
}

/** A tree object with just these bytes, however wrong. */
function rawTree(repository: TestRepository, entries: readonly Entry[]): string {
  const bytes = entries.map(([mode, name, oid]) =>
    Buffer.concat([Buffer.from(`${mode} `), Buffer.from(name), Buffer.of(0), Buffer.from(oid, 'hex')]),
  );
  return rawObject(repository, 'tree', Buffer.concat(bytes));
}

function rawObject(repository: TestRepository, type: string, content: Buffer): string {
  return repository.gitWithInput(content, 'hash-object', '-w', '--literally', '-t', type, '--stdin');
}

function commitOf(repository: TestRepository, tree: string): string {
  const who = 'A <a@example.com> 1700000000 +0000';
  return rawObject(repository, 'commit', Buffer.from(`tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nraw\n`));
}

async function refusal(t: ExecutionContext, repository: TestRepository, commit: string, target: string, options = {}) {
  const error = await t.throwsAsync(checkout(repository.path, commit, target, options as CheckoutOptions));
  if (!(error instanceof MemoirError)) throw error ?? new Error('no error');
  return error;
}

/** Every path with its kind, executable bit and content. */
function listing(directory: string, prefix = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(join(directory, prefix))) {
    const path = prefix === '' ? name : `${prefix}/${name}`;
    const stat = lstatSync(join(directory, path));
    if (path === '.git') continue;
    if (stat.isDirectory()) Object.assign(found, { [path]: 'directory' }, listing(directory, path));
    else if (stat.isSymbolicLink()) found[path] = `link ${readlinkSync(join(directory, path))}`;
    else {
      const executable = (stat.mode & 0o100) !== 0 ? 'executable' : 'file';
      found[path] = `${executable} ${readFileSync(join(directory, path), 'base64')}`;
    }
  }
  return found;
}

function makeMixedTree({ path, commit }: TestRepository): string {
  writeFileSync(join(path, 'run.sh'), '#!/bin/sh\n');
  chmodSync(join(path, 'run.sh'), 0o755);
  mkdirSync(join(path, 'deep/er'), { recursive: true });
  symlinkSync('../run.sh', join(path, 'deep/link'));
  symlinkSync('/nowhere/at all', join(path, 'deep/dangling'));
  writeFileSync(join(path, 'deep/er/binary'), Buffer.from([0, 255, 254, 10, 13]));
  return commit({ 'häuser/ñ \n.txt': 'odd name', empty: '', 'deep/er/text': 'text\n', '.gitignore': 'x\n' });
}

for (const objectFormat of ['sha1', 'sha256'] as const) {
  for (const packed of [false, true]) {
    test(`a checkout has just what git's own has, ${packed ? 'packed' : 'loose'}, ${objectFormat}`, async (t) => {
      const { repository, scratch, target } = setUp(t, objectFormat);
      const commit = makeMixedTree(repository);
      repository.commit({ empty: 'no longer' });
      if (packed) repository.git('gc', '--quiet');
      const done = await checkout(repository.path, commit, target);
      const clone = join(scratch, 'clone');
      execFileSync('git', ['clone', '--quiet', '--no-checkout', repository.path, clone], { env: gitEnvironment() });
      execFileSync('git', ['-C', clone, 'checkout', '--quiet', commit], { env: gitEnvironment() });
      const expected = listing(clone);
      t.deepEqual(listing(target), expected);
      t.is(done.entries, Object.keys(expected).length);
    });
  }
}

test('bare repositories and linked work trees are read too', async (t) => {
  const { repository, scratch } = setUp(t);
  const commit = repository.commit({ file: 'content' });
  const bare = join(scratch, 'bare.git');
  repository.git('clone', '--quiet', '--bare', '.', bare);
  const linked = join(scratch, 'linked');
  repository.git('worktree', 'add', '--quiet', '--detach', linked);
  for (const path of [bare, linked]) {
    const target = join(scratch, `from-${path.slice(scratch.length + 1)}`);
    await checkout(path, commit, target);
    t.is(readFileSync(join(target, 'file'), 'utf8'), 'content');
  }
});

test('a submodule that is left is an empty directory, and old modes of files are understood', async (t) => {
  const { repository, target } = setUp(t);
  const file = blob(repository, 'x');
  const tree = rawTree(repository, [
    ['100664', 'old', file],
    ['160000', 'sub', 'ab'.repeat(20)],
  ]);
  await checkout(repository.path, commitOf(repository, tree), target, { leaveSubmodules: true });
  t.deepEqual(listing(target), { old: `file ${Buffer.from('x').toString('base64')}`, sub: 'directory' });
});

const oddModes = {
  file: ['100600', '100640', '100644', '100660', '100664', '100666', '100444', '0100644', '100020'],
  executable: ['100700', '100755', '100775', '100777', '100555', '104711', '00100755'],
  symlink: ['120000', '120755', '120777'],
  tree: ['40000', '40700', '40755', '40775', '040000', '0040000', '42755'],
} as const;

test("modes that other programs wrote are read as git's own checkout reads them", async (t) => {
  const { repository, scratch, target } = setUp(t);
  const content = blob(repository, 'x');
  const inner = rawTree(repository, [['100644', 'inner', content]]);
  const entries = Object.entries(oddModes).flatMap(([kind, modes]) =>
    modes.map((mode): Entry => [mode, `${kind}-${mode}`, kind === 'tree' ? inner : content]),
  );
  // Directories sort in a tree as if their names ended in "/".
  entries.sort(([, a], [, b]) => (a < b ? -1 : 1));
  const commit = commitOf(repository, rawTree(repository, entries));
  const theirs = join(scratch, 'theirs');
  repository.git('worktree', 'add', '--quiet', '--detach', theirs, commit);
  await checkout(repository.path, commit, target);
  const found = listing(target);
  t.deepEqual(found, listing(theirs));
  for (const [kind, modes] of Object.entries(oddModes))
    for (const mode of modes)
      t.regex(found[`${kind}-${mode}`] ?? '', new RegExp({ symlink: 'link', tree: 'directory' }[kind] ?? kind), mode);
});

for (const name of ['', '.', '..', '.git', '.GIT', '.gIt', 'a/b', '../up', '/etc/x']) {
  for (const kind of ['100644', '40000', '120000'] as const) {
    test(`the name ${JSON.stringify(name)} is refused for mode ${kind}, and nothing is written`, async (t) => {
      const { repository, scratch, target } = setUp(t);
      const file = blob(repository, 'x');
      const oid = kind === '40000' ? rawTree(repository, [['100644', 'inner', file]]) : file;
      const commit = commitOf(
        repository,
        rawTree(repository, [
          ['100644', 'before', file],
          [kind, name, oid],
        ]),
      );
      const error = await refusal(t, repository, commit, target);
      t.is(error.code, 'FAILED_PRECONDITION');
      t.is(error.reason, 'UNSAFE_TREE');
      t.true(error.message.includes(JSON.stringify(name)), error.message);
      t.deepEqual(readdirSync(target), []);
      t.deepEqual(readdirSync(scratch), ['tree']);
    });
  }
}

test('hostile names deep in a tree are refused as well', async (t) => {
  const { repository, target } = setUp(t);
  const inner = rawTree(repository, [['100644', '..', blob(repository, 'x')]]);
  const error = await refusal(
    t,
    repository,
    commitOf(repository, rawTree(repository, [['40000', 'dir', inner]])),
    target,
  );
  t.is(error.reason, 'UNSAFE_TREE');
  t.true(error.message.includes('"dir/"'), error.message);
});

test('a symbolic link that a later directory of the same name would be written through is refused', async (t) => {
  const { repository, scratch, target } = setUp(t);
  const outside = join(scratch, 'outside');
  mkdirSync(outside);
  const inner = rawTree(repository, [['100644', 'planted', blob(repository, 'x')]]);
  for (const order of [0, 1]) {
    const entries: Entry[] = [
      ['120000', 'dir', blob(repository, outside)],
      ['40000', 'dir', inner],
    ];
    if (order === 1) entries.reverse();
    const error = await refusal(t, repository, commitOf(repository, rawTree(repository, entries)), `${target}${order}`);
    t.is(error.reason, 'UNSAFE_TREE');
    t.regex(error.message, /comes twice/);
  }
  t.deepEqual(readdirSync(outside), []);
});

test('what is in the directory already is never overwritten or followed', async (t) => {
  const { repository, scratch, target } = setUp(t);
  const commit = repository.commit({ file: 'new', 'dir/inner': 'new' });
  writeFileSync(join(scratch, 'victim'), 'old');
  mkdirSync(target);
  symlinkSync('../victim', join(target, 'file'));
  await t.throwsAsync(checkout(repository.path, commit, target), { code: 'EEXIST' });
  t.is(readFileSync(join(scratch, 'victim'), 'utf8'), 'old');
  rmSync(target, { recursive: true });
  mkdirSync(target);
  symlinkSync('..', join(target, 'dir'));
  await t.throwsAsync(checkout(repository.path, commit, target), { code: 'EEXIST' });
  t.false(readdirSync(scratch).includes('inner'));
});

test('a tree that names itself a thousand times over stops at the limits', async (t) => {
  const { repository, target } = setUp(t);
  let tree = rawTree(repository, [['100644', 'leaf', blob(repository, 'x')]]);
  for (let level = 0; level < 12; level++) {
    const entries = Array.from({ length: 10 }, (_, i): Entry => ['40000', `d${i}`, tree]);
    tree = rawTree(repository, entries);
  }
  const commit = commitOf(repository, tree);
  const many = await refusal(t, repository, commit, `${target}1`, { limits: { entries: 500 } });
  t.is(many.reason, 'CHECKOUT_TOO_LARGE');
  t.regex(many.message, /more than 500 entries/);
  const deep = await refusal(t, repository, commit, `${target}2`, { limits: { depth: 5 } });
  t.regex(deep.message, /more than 5 deep/);
});

test('large files stop at the limits', async (t) => {
  const { repository, target } = setUp(t);
  const commit = repository.commit({ a: 'x'.repeat(600), b: 'y'.repeat(600) });
  t.regex((await refusal(t, repository, commit, `${target}1`, { limits: { fileBytes: 599 } })).message, /600 bytes/);
  const total = await refusal(t, repository, commit, `${target}2`, { limits: { totalBytes: 1_000 } });
  t.is(total.code, 'RESOURCE_EXHAUSTED');
  t.regex(total.message, /more than 1000 bytes/);
});

test('a file that is too large to be read is too large, not damage: loose, packed, and as a delta', async (t) => {
  const { repository, target } = setUp(t);
  const large = `${'some text '.repeat(3_400_000)}`;
  repository.commit({ large });
  const commits = [repository.git('rev-parse', 'HEAD'), repository.commit({ large: `${large}!` })];
  const refused = async (packed: string) => {
    for (const [i, commit] of commits.entries()) {
      const error = await refusal(t, repository, commit, `${target}-${packed}-${i}`, { limits: { fileBytes: 1_000 } });
      t.is(error.reason, 'CHECKOUT_TOO_LARGE', error.message);
    }
  };
  await refused('loose');
  repository.git('-c', 'core.bigFileThreshold=1g', 'gc', '--quiet');
  t.regex(repository.git('cat-file', '--batch-check=%(deltabase)', '--batch-all-objects'), /^(?!0+$)[0-9a-f]+$/m);
  await refused('packed');
  await checkout(repository.path, commits[1] ?? '', target);
  t.is(readFileSync(join(target, 'large'), 'latin1'), `${large}!`);
});

test('missing, exchanged and malformed objects are told apart by name', async (t) => {
  const { repository, target } = setUp(t);
  const present = blob(repository, 'x');
  const absent = 'cd'.repeat(20);
  const missing = await refusal(
    t,
    repository,
    commitOf(repository, rawTree(repository, [['100644', 'f', absent]])),
    target,
  );
  t.is(missing.code, 'NOT_FOUND');
  t.true(missing.message.includes(absent));

  const victim = blob(repository, 'genuine');
  const file = join(repository.path, '.git/objects', victim.slice(0, 2), victim.slice(2));
  chmodSync(file, 0o644);
  writeFileSync(file, deflateSync(Buffer.from('blob 7\0forgery')));
  const commit = commitOf(repository, rawTree(repository, [['100644', 'f', victim]]));
  const damaged = await refusal(t, repository, commit, `${target}2`);
  t.is(damaged.code, 'DATA_LOSS');
  t.true(damaged.message.includes(victim), damaged.message);

  for (const [content, what] of [
    [Buffer.from('100644 short\0abc'), /ends within an entry/],
    [Buffer.from('100644'), /ends within an entry/],
    [Buffer.concat([Buffer.from('170000 odd\0'), Buffer.from(present, 'hex')]), /unknown mode "170000"/],
  ] as const) {
    const error = await refusal(
      t,
      repository,
      commitOf(repository, rawObject(repository, 'tree', content)),
      `${target}3`,
    );
    t.is(error.code, 'DATA_LOSS');
    t.regex(error.message, what);
  }
  const notTree = await refusal(t, repository, commitOf(repository, present), `${target}4`);
  t.regex(notTree.message, /is a blob/);
  const notCommit = await refusal(t, repository, present, `${target}5`);
  t.regex(notCommit.message, /is a blob/);
});

test('symbolic links without a possible target are refused', async (t) => {
  const { repository, target } = setUp(t);
  for (const [i, content] of ['', 'a\0b', 'x'.repeat(5_000)].entries()) {
    const commit = commitOf(repository, rawTree(repository, [['120000', 'link', blob(repository, content)]]));
    t.is((await refusal(t, repository, commit, `${target}${i}`)).reason, 'UNSAFE_TREE');
  }
});

test('an aborted checkout ends with the reason', async (t) => {
  const { repository, target } = setUp(t);
  const commit = repository.commit({ file: 'x' });
  const reason = new Error('enough');
  await t.throwsAsync(checkout(repository.path, commit, target, { signal: AbortSignal.abort(reason) }), { is: reason });
});
