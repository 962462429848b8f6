import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import { type CheckoutOptions, checkout } from '../../../src/git/checkout.js';
import { makeRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';
import { commitRaw, filtered } from './oracle.js';

const repository = makeRepository();
const scratch = mkdtempSync(join(tmpdir(), 'memoir-attributes-'));
test.after.always(() => {
  repository.dispose();
  rmSync(scratch, { recursive: true, force: true });
});

let made = 0;

async function ours(commit: string, options: CheckoutOptions = {}): Promise<string> {
  const directory = join(scratch, `ours-${++made}`);
  await checkout(repository.path, commit, directory, options);
  return directory;
}

function theirs(commit: string): string {
  const directory = join(scratch, `theirs-${++made}`);
  repository.git('worktree', 'add', '--quiet', '--detach', directory, commit);
  return directory;
}

type Files = Readonly<Record<string, Buffer | string>>;

/** Compares every file of a commit with the one that git checks out. */
async function compare(t: ExecutionContext, files: Files): Promise<Record<string, Buffer>> {
  const commit = commitRaw(repository, files);
  const [mine, other] = [await ours(commit), theirs(commit)];
  const content: Record<string, Buffer> = {};
  for (const path of Object.keys(files)) {
    content[path] = readFileSync(join(mine, path));
    const shown = JSON.stringify(readFileSync(join(other, path), 'latin1'));
    t.is(JSON.stringify(content[path].toString('latin1')), shown, path);
  }
  return content;
}

const states = [
  'text',
  '-text',
  '!text',
  'text=auto',
  'text=input',
  'text=other',
  'crlf',
  '-crlf',
  'crlf=input',
  'crlf=auto',
  'eol=crlf',
  'eol=lf',
  'eol',
  '-eol',
  'ident',
  '-ident',
  'ident=x',
  'binary',
  'export-subst',
  'filter=unknown',
  '-filter',
  'working-tree-encoding=UTF-16',
  'working-tree-encoding=UTF-16LE-BOM',
  'working-tree-encoding=utf-16be',
  'working-tree-encoding=UTF-32',
  'working-tree-encoding=ISO-8859-1',
  'working-tree-encoding=UTF-8',
  '!working-tree-encoding',
  'working-tree-encoding=SHIFT-JIS',
];
/** Without "$Id:$", on which git reads past the end of the content and dies, unless a space stands somewhere behind it. */
const pieces = [
  'text',
  '\n',
  '\r\n',
  '\r',
  '\n\n',
  '\0',
  '\x01',
  '\x1a',
  '\x7f',
  '\x1b',
  '\t',
  'ä',
  '漢字',
  '\u{1f600}',
  '\ufeff',
  'x'.repeat(200),
  '$Id$',
  '$Id: 0123 $',
  '$Id: a b $',
  '$Id: \n$',
  '$Id: $',
  '$',
  '$Id',
  '$Format:%H$',
  '\xff',
];
const contents = fc
  .array(fc.constantFrom(...pieces), { maxLength: 8 })
  .map((parts) => Buffer.concat(parts.map((part) => Buffer.from(part, part === '\xff' ? 'latin1' : 'utf8'))));
const names = Array.from({ length: 40 }, (_, i) => `f${i}.${'abc'[i % 3]}`);
const lines = fc
  .tuple(
    fc.constantFrom('*', '*.a', '*.b', 'd/*', '/*.c', '**/f1?.*', 'f[0-9].*', 'd/**'),
    fc.array(fc.constantFrom(...states), { minLength: 1, maxLength: 3 }),
  )
  .map(([pattern, set]) => `${pattern} ${set.join(' ')}`);
const attributeFiles = fc.array(lines, { minLength: 1, maxLength: 5 }).map((all) => `${all.join('\n')}\n`);

test.serial('random contents under random attributes come out as git cat-file --filters has them', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      attributeFiles,
      attributeFiles,
      fc.array(contents, { minLength: 80, maxLength: 80 }),
      async (root, deeper, blobs) => {
        const paths = [...names, ...names.map((name) => `d/${name}`)];
        const files = Object.fromEntries(paths.map((path, i) => [path, blobs[i] ?? '']));
        const all: Files = { ...files, '.gitattributes': root, 'd/.gitattributes': deeper };
        const commit = commitRaw(repository, all);
        const mine = await ours(commit);
        for (const [path, content] of filtered(repository, commit))
          t.is(JSON.stringify(readFileSync(join(mine, path), 'latin1')), JSON.stringify(content), path);
      },
    ),
    { numRuns: rounds(4), endOnFailure: true },
  );
});

test('ends of lines, encodings and $Id$ come out as the attributes say; export-subst and filters change nothing', async (t) => {
  const files = {
    '.gitattributes':
      '*.txt text eol=crlf\n*.auto text=auto eol=crlf\n*.16 text working-tree-encoding=UTF-16 eol=crlf\n*.id ident\n*.sub export-subst\n*.f filter=nothing\n',
    'a.txt': 'one\ntwo\r\n',
    'a.auto': 'one\ntwo\n',
    'b.auto': 'one\ntwo\r\n',
    'c.auto': 'one\n\0\n',
    'a.16': 'ä\n',
    'a.id': '$Id$\n$Id: old $\n',
    'a.sub': '$Format:%H$\n',
    'a.f': 'as it is\n',
  };
  const content = await compare(t, files);
  t.is(content['a.txt']?.toString(), 'one\r\ntwo\r\n');
  t.is(content['a.auto']?.toString(), 'one\r\ntwo\r\n');
  t.is(content['b.auto']?.toString(), files['b.auto']);
  t.is(content['c.auto']?.toString(), files['c.auto']);
  t.is(content['a.16']?.toString('hex'), 'fffee4000d000a00');
  t.regex(content['a.id']?.toString() ?? '', /^\$Id: [0-9a-f]{40} \$\n\$Id: [0-9a-f]{40} \$\n$/);
  t.is(content['a.sub']?.toString(), files['a.sub']);
  t.is(content['a.f']?.toString(), files['a.f']);
});

const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'4d'.repeat(32)}\nsize 12345\n`;

async function refusal(t: ExecutionContext, files: Files, options: CheckoutOptions = {}): Promise<MemoirError> {
  const error = await t.throwsAsync(ours(commitRaw(repository, files), options), { instanceOf: MemoirError });
  if (!error) throw new Error('no error');
  t.is(error.code, 'FAILED_PRECONDITION');
  return error;
}

test('a pointer of git-lfs where the attributes say lfs fails, naming its path, unless it is to be left', async (t) => {
  const files = {
    '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
    'data/big.bin': pointer,
    'data/big.txt': pointer,
  };
  const error = await refusal(t, files);
  t.is(error.reason, 'LFS_POINTER');
  t.regex(error.message, /"data\/big\.bin" is a pointer of git-lfs/);
  await t.throwsAsync(ours(commitRaw(repository, files), { leaveSubmodules: true }), { message: /git-lfs/ });
  const left = await ours(commitRaw(repository, files), { leaveLfsPointers: true });
  t.is(readFileSync(join(left, 'data/big.bin'), 'utf8'), pointer);
  // What is no pointer is not fetched by git-lfs either.
  await compare(t, {
    '.gitattributes': '*.bin filter=lfs\n',
    'a.bin': 'content',
    'b.bin': `${pointer}${'x'.repeat(1_024)}`,
    'c.bin': '',
  });
});

test('a submodule fails, naming its path, unless it is to be left', async (t) => {
  repository.git('read-tree', '--empty');
  repository.git('update-index', '--add', '--cacheinfo', `160000,${'ab'.repeat(20)},lib/sub`);
  const commit = repository.git('commit-tree', '-m', 'x', repository.git('write-tree'));
  const error = await t.throwsAsync(ours(commit, { leaveLfsPointers: true }), { instanceOf: MemoirError });
  t.is(error?.reason, 'SUBMODULE');
  t.regex(error?.message ?? '', /"lib\/sub" is a submodule/);
  await t.notThrowsAsync(ours(commit, { leaveSubmodules: true }));
});

test('encodings that are none or not known fail, naming path and encoding; what cannot be encoded stays, as in git', async (t) => {
  for (const encoding of ['working-tree-encoding', '-working-tree-encoding', 'working-tree-encoding=KLINGON-8']) {
    const error = await refusal(t, { '.gitattributes': `a.txt ${encoding}\n`, 'a.txt': 'x' });
    t.is(error.reason, 'UNSUPPORTED_ENCODING');
    t.regex(error.message, /"a\.txt"/);
  }
  await compare(t, {
    '.gitattributes': '* working-tree-encoding=ISO-8859-1\n',
    'a.txt': '漢',
    'b.txt': Buffer.of(0xe4),
    'c.txt': 'ä',
  });
});

test('nothing but the tree is asked: not info/attributes, not the configuration; a file of attributes has a bound', async (t) => {
  const commit = commitRaw(repository, { 'a.txt': 'one\n' });
  repository.git('config', 'core.autocrlf', 'true');
  repository.git('config', 'core.attributesFile', join(repository.path, 'mine'));
  try {
    t.is(readFileSync(join(await ours(commit), 'a.txt'), 'utf8'), 'one\n');
  } finally {
    repository.git('config', '--unset', 'core.autocrlf');
    repository.git('config', '--unset', 'core.attributesFile');
  }
  const large = commitRaw(repository, { 'd/.gitattributes': '#'.repeat(2_000) });
  const error = await t.throwsAsync(ours(large, { limits: { attributeBytes: 1_000 } }), { instanceOf: MemoirError });
  t.is(error?.reason, 'CHECKOUT_TOO_LARGE');
});
