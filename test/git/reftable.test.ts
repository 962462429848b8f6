import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../src/domain/errors.js';
import { sha1, sha256 } from '../../src/git/hash.js';
import { readLayout } from '../../src/git/layout.js';
import { openRefs, type Refs } from '../../src/git/refs.js';
import { openStack, type RefContent } from '../../src/git/reftable/stack.js';
import { openRepositories } from '../../src/git/repositories.js';
import { atOnce } from '../../src/threads/in-turns.js';
import { gitEnvironment, makeRepository } from '../support/git-repository.js';
import { reftable, type TableForm, type WrittenRef } from '../support/reftable-writer.js';
import { wanting } from '../support/required.js';
import { rounds } from '../support/rounds.js';

/** The tables of a small repository as git 2.47 wrote them: the second deletes a branch of the first. */
const ofGit = {
  '0x000000000001-0x000000000006-63728d73.ref':
    'UkVGVAEAEAAAAAAAAAAAAQAAAAAAAAAGcgAA/AAjSEVBRAAPcmVmcy9oZWFkcy9tYWluAHlyZWZzL2hlYWRzL21haW4BhACHcTWRNsL94P3MZK/3cmxouJsLOXRvcGljL2EDhACHcTWRNsL94P3MZK/3cmxouJsFgBtyZW1vdGVzL29yaWdpbi9IRUFEBBhyZWZzL3JlbW90ZXMvb3JpZ2luL21haW4UIW1haW4FhACHcTWRNsL94P3MZK/3cmxouJsFOnRhZ3MvdjEC5EF2nnUM8MMqCX8xUJLrrP3gxGKEAIdxNZE2wv3g/cxkr/dybGi4mwAAHAAAMwACZwABf3jaY8j0cHV0YfgPAX8ZsIAWhvZC04lmh/4++HsmZf33opyMHbMZExkTW1eeewiUFkvOz83NLFHQyMzLLMlMzNG0UsjPS+ViaHAsSk0r1s9ITUwp1s9NzMyjgSXcDYwl+QWZyfqJMMN/k2G4VFJRYl5yhpWCc1FqYklqikJaUX6uAsjJXKwNiUWpufklqcX6+UWZ6Zl5KD75SYZljFwMDCwMDLEMTAAgZ4jtUkVGVAEAEAAAAAAAAAAAAQAAAAAAAAAGAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPwAAAAAAAAAADOIPqA=',
  '0x000000000007-0x000000000007-4cf124dd.ref':
    'UkVGVAEAEAAAAAAAAAAABwAAAAAAAAAHcgAANwCAEHJlZnMvaGVhZHMvdG9waWMvYQAAABwAAWcAACd42mNoiChKTSvWz0hNTCnWL8kvyEzWT2T4DwG/GRhYGBgBCFMPlFJFRlQBABAAAAAAAAAAAAcAAAAAAAAABwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA3AAAAAAAAAAB0P918',
};
/** What they say, as git lists it. */
const ofGitRefs = {
  HEAD: { target: 'refs/heads/main' },
  'refs/heads/main': { id: '84008771359136c2fde0fdcc64aff7726c68b89b' },
  'refs/remotes/origin/HEAD': { target: 'refs/remotes/origin/main' },
  'refs/remotes/origin/main': { id: '84008771359136c2fde0fdcc64aff7726c68b89b' },
  'refs/tags/v1': { id: 'e441769e750cf0c32a097f315092ebacfde0c462' },
};

const plain: TableForm = {
  version: 1,
  blockSize: 4_096,
  restartEvery: 16,
  perBlock: 1_000,
  indexed: false,
  log: false,
};

function directory(t: ExecutionContext): string {
  const made = mkdtempSync(join(tmpdir(), 'memoir-reftable-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Puts tables in a directory, the oldest first, and their list in the place of the one before, as git does. */
function write(at: string, tables: Readonly<Record<string, Buffer | string>>): void {
  mkdirSync(at, { recursive: true });
  for (const [name, bytes] of Object.entries(tables)) writeFileSync(join(at, name), bytes);
  list(at, Object.keys(tables));
}

function list(at: string, names: readonly string[]): void {
  writeFileSync(join(at, 'tables.list.lock'), names.map((name) => `${name}\n`).join(''));
  renameSync(join(at, 'tables.list.lock'), join(at, 'tables.list'));
}

const open = (at: string, hash: typeof sha1 | typeof sha256 = sha1) =>
  openStack(at, hash, Date.now, (what) => new Error(what));

/** All that a stack says. */
function told(stack: ReturnType<typeof open>): Record<string, RefContent | undefined> {
  return Object.fromEntries(names(stack).map((name) => [name, stack.get(name)]));
}

const names = (stack: ReturnType<typeof open>) => [...stack.entries()].map(([name]) => name);

test('the tables that git wrote say what git says', (t) => {
  const at = directory(t);
  write(at, Object.fromEntries(Object.entries(ofGit).map(([name, text]) => [name, Buffer.from(text, 'base64')])));
  const stack = open(at);
  t.teardown(stack.close);
  t.deepEqual(told(stack), ofGitRefs);
  for (const none of ['refs/heads/topic/a', 'refs/heads', 'A', 'refs/tags/v10', 'z']) t.is(stack.get(none), undefined);
});

test('a directory without tables, and tables without refs, have none', (t) => {
  const at = join(directory(t), 'none');
  const stack = open(at);
  t.teardown(stack.close);
  t.deepEqual([names(stack), stack.get('HEAD')], [[], undefined]);
  write(at, {
    'empty.ref': reftable([], plain),
    'log.ref': reftable([], { ...plain, log: true }),
    'other.ref': reftable([], { ...plain, indexed: true, blockSize: 0 }),
  });
  t.deepEqual([names(stack), stack.get('HEAD')], [[], undefined]);
});

const parts = fc.oneof(fc.constantFrom('a', 'b', 'ab', 'é', '𝒳', 'zz', 'heads'), fc.stringMatching(/^[a-z]{1,20}$/));
const anyName = fc.array(parts, { minLength: 1, maxLength: 4 }).map((path) => `refs/${path.join('/')}`);
const ids = (digits: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`));
const forms = fc.record({
  version: fc.constantFrom(1 as const, 2 as const),
  blockSize: fc.constantFrom(0, 512, 4_096),
  restartEvery: fc.integer({ min: 1, max: 16 }),
  perBlock: fc.integer({ min: 1, max: 12 }),
  indexed: fc.boolean(),
  log: fc.boolean(),
});
const tables = (digits: number) =>
  fc.record({
    form: forms,
    refs: fc
      .uniqueArray(
        fc.oneof(
          fc.record({ name: anyName, id: ids(digits) }),
          fc.record({ name: anyName, id: ids(digits), peeled: ids(digits) }),
          fc.record({ name: anyName, target: anyName }),
          fc.record({ name: anyName, deleted: fc.constant(true as const) }),
        ),
        { selector: ({ name }) => name, maxLength: 60 },
      )
      .map((refs) => refs.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))),
  });

/** What a ref is by the newest of the tables that says something of it. */
function expected(stack: readonly (readonly WrittenRef[])[]): Map<string, RefContent> {
  const refs = new Map<string, RefContent>();
  for (const ref of stack.flat()) {
    if ('deleted' in ref) refs.delete(ref.name);
    else refs.set(ref.name, 'id' in ref ? { id: ref.id } : { target: ref.target });
  }
  return refs;
}

for (const hash of [sha1, sha256]) {
  test(`every ref of a stack is found, and nothing else, in every form that tables may have: ${hash.name}`, (t) => {
    const base = directory(t);
    let run = 0;
    fc.assert(
      fc.property(
        fc.array(tables(hash.hex), { maxLength: 4 }),
        fc.array(anyName, { maxLength: 5 }),
        (stacked, others) => {
          const at = join(base, String(run++));
          const files = stacked.map(({ refs, form }, i) => {
            const written = hash === sha256 ? { ...form, version: 2 as const } : form;
            return [`${i}.ref`, reftable(refs, written, hash === sha256 ? 's256' : 'sha1')];
          });
          write(at, Object.fromEntries(files));
          const stack = open(at, hash);
          const refs = expected(stacked.map((table) => table.refs));
          t.deepEqual(Object.fromEntries(stack.entries()), Object.fromEntries(refs));
          const asked = [...others, ...stacked.flatMap((table) => table.refs.map(({ name }) => name))];
          for (const name of asked) {
            for (const one of [name, `${name}!`, name.slice(0, -1)]) t.deepEqual(stack.get(one), refs.get(one), one);
          }
          stack.close();
        },
      ),
      { numRuns: rounds(60, 1_000) },
    );
  });
}

test('a large table is searched through several levels of its index', (t) => {
  const refs = Array.from({ length: 3_000 }, (_, i) => ({
    name: `refs/heads/${String(i).padStart(5, '0')}`,
    id: i.toString(16).padStart(40, '0'),
  }));
  const at = directory(t);
  write(at, { 'large.ref': reftable(refs, { ...plain, perBlock: 7, indexed: true, blockSize: 512 }) });
  const stack = open(at);
  t.teardown(stack.close);
  for (const { name, id } of refs) t.deepEqual(stack.get(name), { id });
  t.is(stack.get('refs/heads/99999'), undefined);
  t.is(names(stack).length, 3_000);
});

test('what is written meanwhile is seen, and tables that were put together may go', (t) => {
  const at = directory(t);
  const ref = (n: number) => ({ name: `refs/heads/b${n}`, id: String(n).repeat(40) });
  const stack = open(at);
  t.teardown(stack.close);
  for (let n = 1; n <= 4; n++) {
    writeFileSync(join(at, `${n}.ref`), reftable([ref(n)], plain));
    list(
      at,
      Array.from({ length: n }, (_, i) => `${i + 1}.ref`),
    );
    t.is(names(stack).length, n);
  }
  writeFileSync(join(at, '1-3.ref'), reftable([ref(1), ref(2), ref(3)], plain));
  list(at, ['1-3.ref', '4.ref']);
  for (const n of [1, 2, 3]) rmSync(join(at, `${n}.ref`));
  t.deepEqual(
    names(stack).sort(),
    [1, 2, 3, 4].map((n) => ref(n).name),
  );
});

test('a table that is not there, or lies elsewhere, is told by its name', (t) => {
  const at = directory(t);
  for (const [name, message] of [
    ['gone.ref', 'tables.list names "gone.ref", which is not there'],
    ['../else.ref', 'tables.list names "../else.ref"'],
  ] as const) {
    list(at, [name]);
    t.throws(() => names(open(at)), { message });
  }
});

test('what is no reftable is refused by what is wrong with it', (t) => {
  const at = directory(t);
  const sound = reftable([{ name: 'refs/heads/main', id: 'a'.repeat(40) }], plain);
  const changed = (position: number, byte: number) => {
    const bytes = Buffer.from(sound);
    bytes[position] = byte;
    return bytes;
  };
  for (const [bytes, message] of [
    [Buffer.alloc(0), /it does not begin as a reftable$/],
    [sound.subarray(0, 60), /it ends after 60 bytes$/],
    [sound.subarray(0, -1), /it does not end with its header$/],
    [changed(4, 3), /it is of version 3$/],
    [changed(sound.length - 1, 0), /the checksum of its end is wrong$/],
    [reftable([], { ...plain, version: 2 }, 's256'), /its objects are named by s256$/],
    [changed(26, 0xff), /the block at byte 0 says that it has \d+ bytes$/],
    [changed(28, 9), /the block at byte 0 has a key that begins as none before it$/],
  ] as const) {
    write(at, { 'bad.ref': bytes });
    t.throws(() => names(open(at)), { message });
  }
});

test('a table with any byte changed is read as something or refused, and never breaks what reads it', (t) => {
  const base = directory(t);
  let run = 0;
  fc.assert(
    fc.property(tables(40), fc.nat(), fc.nat(255), anyName, ({ refs, form }, position, byte, name) => {
      const at = join(base, String(run++));
      const bytes = reftable(refs, { ...form, version: 1 });
      bytes[position % bytes.length] = byte;
      write(at, { 'odd.ref': bytes });
      const refusal = (what: string) => new MemoirError('DATA_LOSS', 'REPOSITORY_DAMAGED', what);
      const stack = openStack(at, sha1, Date.now, refusal);
      for (const ask of [
        () => names(stack),
        ...[name, ...refs.map((ref) => ref.name)].map((one) => () => stack.get(one)),
      ]) {
        try {
          ask();
        } catch (error) {
          if (!(error instanceof MemoirError)) throw error;
        }
      }
      stack.close();
      t.pass();
    }),
    { numRuns: rounds(200, 5_000) },
  );
});

test('a repository whose refs are kept in reftables is one as any other', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const first = repository.commit({ 'run.sh': '#!/bin/sh\n' });
  const second = repository.commit({ 'run.sh': '#!/bin/sh\necho\n' });
  const gitDir = join(repository.path, '.git');
  write(join(gitDir, 'reftable'), {
    '1.ref': reftable(
      [
        { name: 'HEAD', target: 'refs/heads/main' },
        { name: 'refs/heads/main', id: first },
        { name: 'refs/heads/old', id: first },
      ],
      plain,
    ),
  });
  for (const gone of ['refs/heads', 'packed-refs']) rmSync(join(gitDir, gone), { recursive: true, force: true });
  writeFileSync(join(gitDir, 'refs/heads'), 'this repository uses the reftable format\n');
  writeFileSync(join(gitDir, 'HEAD'), 'ref: refs/heads/.invalid\n');
  writeFileSync(
    join(gitDir, 'config'),
    '[core]\n\trepositoryformatversion = 1\n\tbare = false\n[extensions]\n\trefStorage = reftable\n',
  );
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  t.is(await repositories.resolve('r', 'main'), first);
  t.is(await repositories.resolve('r', 'HEAD'), first);
  writeFileSync(
    join(gitDir, 'reftable/2.ref'),
    reftable(
      [
        { name: 'refs/heads/main', id: second },
        { name: 'refs/heads/old', deleted: true },
      ],
      plain,
    ),
  );
  appendFileSync(join(gitDir, 'reftable/tables.list'), '2.ref\n');
  t.is(await repositories.resolve('r', 'main'), second);
  t.is(await repositories.resolve('r', 'HEAD'), second);
  t.is(await repositories.resolve('r', 'main~1'), first);
  await t.throwsAsync(repositories.resolve('r', 'old'), { message: /old/ });
});

/** A git that writes reftables, 2.45 or newer: the one that MEMOIR_TEST_GIT names, or that of the machine. */
function gitOfReftables(
  t: ExecutionContext,
): ((at: string, args: readonly string[], input?: string) => string) | undefined {
  const program = process.env.MEMOIR_TEST_GIT ?? 'git';
  const run = (at: string, args: readonly string[], input = '') =>
    execFileSync(program, args, { cwd: at, env: gitEnvironment(), input, encoding: 'utf8', stdio: 'pipe' }).trimEnd();
  try {
    run(directory(t), ['init', '--quiet', '--ref-format=reftable', '.']);
    return run;
  } catch (error) {
    wanting(
      t,
      'git-reftable',
      `${program} makes no repository with reftables: ${(error as Error).message.split('\n')[0]}`,
    );
    return undefined;
  }
}

/** What Memoir and git list of a repository, HEAD left out. */
const listed = (refs: Refs) =>
  atOnce(refs.list())
    .filter(({ name }) => name !== 'HEAD')
    .map(({ name, id }) => `${id} ${name}`);

for (const format of ['sha1', 'sha256'] as const) {
  test(`lists what git lists, while refs come, change and go and tables are put together: ${format}`, (t) => {
    const git = gitOfReftables(t);
    if (!git) return;
    const path = directory(t);
    git(path, ['init', '--quiet', '--ref-format=reftable', `--object-format=${format}`, '--initial-branch=main', '.']);
    git(path, ['commit', '--quiet', '--allow-empty', '--message=one']);
    const one = git(path, ['rev-parse', 'HEAD']);
    git(path, ['commit', '--quiet', '--allow-empty', '--message=two']);
    const two = git(path, ['rev-parse', 'HEAD']);
    const refs = openRefs(readLayout('r', path), Date.now);
    t.teardown(refs.close);
    const same = () => {
      t.deepEqual(listed(refs), git(path, ['for-each-ref', '--format=%(objectname) %(refname)']).split('\n'));
      t.is(refs.read('HEAD'), git(path, ['rev-parse', 'HEAD']));
    };
    same();
    const branches = (count: number, id: string) =>
      Array.from({ length: count }, (_, i) => `update refs/heads/b/${i} ${id}\n`).join('');
    for (const step of [
      branches(3, one),
      branches(2_000, one),
      branches(50, two),
      Array.from({ length: 300 }, (_, i) => `delete refs/heads/b/${3 * i}\n`).join(''),
    ]) {
      git(path, ['update-ref', '--stdin'], step);
      same();
    }
    git(path, ['tag', '--annotate', '--message=t', 'v1']);
    git(path, ['symbolic-ref', 'refs/heads/alias', 'refs/heads/b/1']);
    git(path, ['checkout', '--quiet', '--detach', one]);
    same();
    git(path, ['pack-refs']);
    same();
    const work = join(directory(t), 'work');
    git(path, ['worktree', 'add', '--quiet', '-b', 'beside', work, two]);
    git(work, ['update-ref', 'refs/worktree/own', one]);
    same();
    const beside = openRefs(readLayout('w', work), Date.now);
    t.teardown(beside.close);
    t.true(
      existsSync(join(path, '.git/worktrees/work/reftable/tables.list')) &&
        readFileSync(join(work, '.git'), 'utf8') !== '',
    );
    t.deepEqual(listed(beside), git(work, ['for-each-ref', '--format=%(objectname) %(refname)']).split('\n'));
    t.deepEqual([beside.read('HEAD'), beside.read('refs/worktree/own')], [two, one]);
    t.is(refs.read('refs/worktree/own'), undefined);
  });
}
