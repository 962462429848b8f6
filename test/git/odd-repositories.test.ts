import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { checkout } from '../../src/git/checkout.js';
import { sha1 } from '../../src/git/hash.js';
import { readLayout } from '../../src/git/layout.js';
import { rawId } from '../../src/git/objects/object-id.js';
import { createPageCache } from '../../src/git/objects/paged-file.js';
import { believedFor, openObjectReader } from '../../src/git/reader/object-reader.js';
import { openRepositories } from '../../src/git/repositories.js';
import { makeRepository, type TestRepository } from '../support/git-repository.js';
import { until } from '../support/until.js';

// Repositories that git gets along with although something about them is odd, and what it makes of them.

function make(t: ExecutionContext): TestRepository {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  return repository;
}

async function open(t: ExecutionContext, path: string, log?: (facts: object, message: string) => void) {
  const warn = log ?? (() => undefined);
  const repositories = await openRepositories({ r: { path } }, { log: { info: () => undefined, warn } });
  t.teardown(() => repositories.close());
  return repositories;
}

/** Writes a commit as it is given, and points a branch at it, without git's looking at it. */
function writeCommit(repository: TestRepository, branch: string, content: string): string {
  const id = repository.gitWithInput(content, 'hash-object', '-t', 'commit', '--literally', '-w', '--stdin');
  writeFileSync(join(repository.path, '.git/refs/heads', branch), `${id}\n`);
  return id;
}

const author = 'author A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\n';

test('a multi-pack index that names a lost pack is done without', async (t) => {
  const repository = make(t);
  const first = repository.commit({ file: '1' });
  repository.git('repack', '-dq');
  const second = repository.commit({ file: '2' });
  repository.git('repack', '-dq');
  const pack = join(repository.path, '.git/objects/pack');
  const before = new Set(readdirSync(pack));
  // All again in one more pack, so that nothing is lost with one of the others.
  repository.git('repack', '-aq');
  repository.git('multi-pack-index', 'write');
  const lost = [...before].find((name) => name.endsWith('.pack')) ?? '';
  rmSync(join(pack, lost));
  rmSync(join(pack, lost.replace('.pack', '.idx')));
  t.is(repository.git('rev-parse', 'main~1^{commit}'), first);
  const repositories = await open(t, repository.path);
  t.is(await repositories.resolve('r', 'main~1'), first);
  t.is(await repositories.resolve('r', 'main'), second);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  await checkout(repository.path, first, join(directory, 'tree'));
  t.is(readFileSync(join(directory, 'tree/file'), 'utf8'), '1');
});

test('a malformed commit under one ref takes no search from the others', async (t) => {
  const repository = make(t);
  const tree = repository.git('write-tree');
  const good = repository.commit({ file: '1' }, 'needle');
  writeCommit(repository, 'aaa', `tree ${tree}\nparent nonsense\n${author}\nneedle\n`);
  const child = writeCommit(
    repository,
    'bbb',
    `tree ${tree}\nparent ${'1'.repeat(40)}\nparent ${good}\n${author}\nchild\n`,
  );
  const repositories = await open(t, repository.path);
  t.is(await repositories.resolve('r', ':/needle'), good);
  t.is(repository.git('rev-parse', ':/needle'), good);
  t.is(await repositories.resolve('r', ':/child'), child);
  t.is(await repositories.resolve('r', 'bbb^{/needle}'), good);
  const error = await t.throwsAsync(repositories.resolve('r', 'aaa'), { instanceOf: MemoirError });
  t.is(error?.code, 'DATA_LOSS');
});

test('the youngest is found by dates as git reads them, however odd they are', async (t) => {
  const repository = make(t);
  const tree = repository.git('write-tree');
  repository.commit({ file: '1' }, 'needle');
  const who = 'A <a@example.com>';
  const dates: Record<string, string> = {
    'of more than 64 bits': 'committer A <a@example.com> 99999999999999999999 +0000\n\n',
    'of 64 bits': 'committer A <a@example.com> 18446744073709551615 +0000\n\n',
    'below zero': 'committer A <a@example.com> -5 +0000\n\n',
    zero: 'committer A <a@example.com> 0 +0000\n\n',
    none: 'committer A <a@example.com>\n\n',
    'in a line that does not end': 'committer A <a@example.com> 1900000000 +0000',
    'of nobody': '\n',
  };
  const repositories = await open(t, repository.path);
  for (const [what, committer] of Object.entries(dates)) {
    const content = `tree ${tree}\nauthor ${who} 1 +0000\n${committer}`;
    const odd = writeCommit(repository, 'odd', `${content}${content.endsWith('\n\n') ? 'needle\n' : ''}`);
    // What is before it is younger than all others but those of a wrong date.
    const child = `tree ${tree}\nparent ${odd}\nauthor ${who} 1 +0000\ncommitter ${who} 1950000000 +0000\n\nchild\n`;
    writeCommit(repository, 'child', child);
    t.is(await repositories.resolve('r', ':/needle'), repository.git('rev-parse', ':/needle'), what);
    t.is(await repositories.resolve('r', ':/!-child'), repository.git('rev-parse', ':/!-child'), what);
  }
});

test('a history with a date that no commit-graph has room for is kept, and ranges in it are those of git', async (t) => {
  const repository = make(t);
  const tree = repository.git('write-tree');
  const root = repository.commit({ file: '1' }, 'root');
  const who = 'A <a@example.com>';
  const late = `tree ${tree}\nparent ${root}\nauthor ${who} 1 +0000\ncommitter ${who} 99999999999999999999 +0000\n\nlate\n`;
  const middle = writeCommit(repository, 'middle', late);
  const after = `tree ${tree}\nparent ${middle}\nauthor ${who} 1 +0000\ncommitter ${who} 1700000000 +0000\n\nafter\n`;
  const tip = writeCommit(repository, 'tip', after);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-kept-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const named = (refspec: string) => ({ refspec, field: 'f' });
  for (const source of ['objects', 'kept']) {
    const loads: object[] = [];
    const info = (facts: object, message: string) => void (message === 'history loaded' && loads.push(facts));
    const repositories = await openRepositories(
      { r: { path: repository.path } },
      { directory, log: { info, warn: (_: object, message: string) => t.fail(message) } },
    );
    const range = await repositories.range('r', { end: named(tip), minimum: named(root) });
    t.true(
      [root, middle, tip].every((id) => range.has(id)),
      source,
    );
    t.is(range.size, 3);
    t.is((await repositories.range('r', { end: named(tip), minimum: named(middle) })).size, 2, source);
    await until('the history was loaded', () => loads.length > 0);
    t.like(loads[0], { source });
    await repositories.close();
  }
});

test('a branch whose file is broken is none, though it was packed before', async (t) => {
  const repository = make(t);
  repository.commit({ file: '1' }, 'before');
  repository.git('branch', 'broken');
  repository.git('checkout', '--quiet', 'broken');
  repository.commit({ file: '2' }, 'needle');
  repository.git('checkout', '--quiet', 'main');
  repository.git('pack-refs', '--all');
  writeFileSync(join(repository.path, '.git/refs/heads/broken'), 'garbage\n');
  const repositories = await open(t, repository.path);
  t.throws(() => repository.git('rev-parse', '--verify', '--quiet', ':/needle'));
  await t.throwsAsync(repositories.resolve('r', ':/needle'), { message: /finds no commit with such a message/ });
  await t.throwsAsync(repositories.resolve('r', 'broken'), { message: /holds "garbage/ });
});

test('hashes in commits and tags may be written in capitals', async (t) => {
  const repository = make(t);
  const tree = repository.git('write-tree');
  const first = repository.commit({ file: '1' });
  const commit = writeCommit(
    repository,
    'capitals',
    `tree ${tree.toUpperCase()}\nparent ${first.toUpperCase()}\n${author}\nx\n`,
  );
  const tag = repository.gitWithInput(
    `object ${commit.toUpperCase()}\ntype commit\ntag t\ntagger A <a@example.com> 1700000000 +0000\n\nx\n`,
    ...['hash-object', '-t', 'tag', '--literally', '-w', '--stdin'],
  );
  mkdirSync(join(repository.path, '.git/refs/tags'), { recursive: true });
  writeFileSync(join(repository.path, '.git/refs/tags/t'), `${tag}\n`);
  const repositories = await open(t, repository.path);
  t.is(repository.git('rev-parse', 't^{commit}~1'), first);
  t.is(await repositories.resolve('r', 't~1'), first);
  t.is(await repositories.resolve('r', 't^{}'), commit);
  const range = await repositories.range('r', {
    end: { refspec: 'capitals', field: 'end' },
    minimum: { refspec: first, field: 'minimum' },
  });
  t.is(range.size, 2);
});

test('alternates are found by names of any bytes, quoted as git quotes them or raw', async (t) => {
  const origin = make(t);
  const commit = origin.commit({ file: '1' });
  const directory = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const names: readonly (readonly [name: string, line: (path: string) => string])[] = [
    ['plain', (path) => path],
    ['caf\u00e9', (path) => path],
    ['caf\u00e9-quoted', (path) => `"${path}"`],
    ['\u65e5\u672c', (path) => `"${path}"`],
    ['caf\u00e9-escaped', (path) => `"${path.replace('\u00e9', '\\303\\251')}"`],
    ['tab\there', (path) => `"${path.replace('\t', '\\t')}"`],
    ['quote"d', (path) => `"${path.replace('"', '\\"')}"`],
    ['back\\slash', (path) => `"${path.replace('\\', '\\\\')}"`],
  ];
  for (const [i, [name, line]] of names.entries()) {
    const lender = join(directory, name);
    origin.git('clone', '--quiet', '--bare', '.', lender);
    const borrower = join(directory, `borrower-${i}`);
    origin.git('init', '--quiet', '--bare', borrower);
    mkdirSync(join(borrower, 'objects/info'), { recursive: true });
    writeFileSync(join(borrower, 'objects/info/alternates'), `# a comment\n${line(join(lender, 'objects'))}\n`);
    writeFileSync(join(borrower, 'refs/heads/main'), `${commit}\n`);
    t.is(origin.git('-C', borrower, 'rev-parse', '--verify', 'main^{commit}'), commit, name);
    const repositories = await open(t, borrower);
    t.is(await repositories.resolve('r', 'main'), commit, name);
  }
});

/** A blob whose id begins like another object's. */
function alike(repository: TestRepository, id: string, digits: number): string {
  for (let i = 0; ; i++) {
    const data = Buffer.from(`blob ${i}`);
    if (rawId(sha1, 'blob', data).toString('hex').startsWith(id.slice(0, digits))) {
      return repository.gitWithInput(data, 'hash-object', '-w', '--stdin');
    }
  }
}

test('an abbreviation is ambiguous where git says so: by what is asked of it first', async (t) => {
  const repository = make(t);
  const first = repository.commit({ file: '1' });
  const second = repository.commit({ file: '2' }, 'Commit 2');
  alike(repository, second, 4);
  const short = second.slice(0, 4);
  const repositories = await open(t, repository.path);
  for (const [text, expected] of [
    [short, second],
    [`${short}^`, first],
    [`${short}~0`, second],
    [`${short}^{commit}`, second],
    [`${short}^{/Commit}`, second],
    [`x-g${short}`, second],
    [`x-g${short}^{}`, second],
    [`${short}^{}`, undefined],
    [`${short}^{}^`, undefined],
    [`${short}^{object}`, undefined],
    [`${short}^{object}~1`, undefined],
  ] as const) {
    const git = (() => {
      try {
        return repository.git('rev-parse', '--verify', '--quiet', `${text}^{commit}`);
      } catch {
        return undefined;
      }
    })();
    t.is(git, expected, `git: ${text}`);
    const ours = await repositories.resolve('r', text).catch((error: MemoirError) => {
      t.is(error.reason, 'UNRESOLVABLE_REFSPEC');
      return undefined;
    });
    t.is(ours, expected, text);
  }
});

test('a commit that was forced away and collected is no commit any more, soon', async (t) => {
  const repository = make(t);
  const kept = repository.commit({ file: '1' });
  const gone = repository.commit({ file: '2' });
  repository.git('repack', '-adq');
  let now = 0;
  const reader = openObjectReader(readLayout('r', repository.path), createPageCache(1 << 20), () => now);
  t.teardown(reader.close);
  t.is(reader.peel(gone)?.id, gone);
  repository.git('reset', '--quiet', '--hard', 'main~1');
  repository.git('reflog', 'expire', '--expire=now', '--all');
  repository.git('gc', '--quiet', '--prune=now');
  t.throws(() => repository.git('cat-file', '-e', gone));
  now += believedFor;
  t.is(reader.peel(gone), undefined);
  t.is(reader.peel(kept)?.id, kept);
});

test('what is left out of a history is called what it is', async (t) => {
  const repository = make(t);
  const tree = repository.git('write-tree');
  const first = repository.commit({ file: '1' });
  const second = repository.commit({ file: '2' });
  writeCommit(repository, 'bad', `tree ${tree}\nparent ${'1'.repeat(40)}\n${author}\nx\n`);
  const said: string[] = [];
  const repositories = await open(t, repository.path, (facts, message) =>
    said.push(`${message} ${JSON.stringify(facts)}`),
  );
  const range = await repositories.range('r', {
    end: { refspec: second, field: 'end' },
    minimum: { refspec: first, field: 'minimum' },
  });
  t.is(range.size, 2);
  t.is(said.length, 1);
  t.regex(said[0] ?? '', /^ref left out .*1111/);
});

test('a partial clone says so when it is opened, and what it lacks is named as such', async (t) => {
  const origin = make(t);
  origin.git('config', 'uploadpack.allowFilter', 'true');
  const commit = origin.commit({ 'run.sh': '#!/bin/sh\n' });
  const directory = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const clone = join(directory, 'partial');
  origin.git('clone', '--quiet', '--bare', '--filter=blob:none', `file://${origin.path}`, clone);
  const said: string[] = [];
  const repositories = await open(t, clone, (facts, message) => said.push(`${message} ${JSON.stringify(facts)}`));
  t.is(said.length, 1);
  t.regex(said[0] ?? '', /partial clone.*"repository":"r","remote":"origin"/);
  t.is(await repositories.resolve('r', 'main'), commit);
  const error = await t.throwsAsync(checkout(clone, commit, join(directory, 'tree')), { instanceOf: MemoirError });
  t.is(error?.reason, 'OBJECT_MISSING');
  t.regex(error?.message ?? '', /partial clone, and what it lacks is at its remote "origin"/);
});

test('damage far outside of a range takes no range away, as with git; damage in it, or that may have to do with it, is told', async (t) => {
  const repository = make(t);
  const tree = repository.git('write-tree');
  let at = 1_700_000_000;
  const commit = (parents: readonly string[], seconds = 60) => {
    at += seconds;
    const lines = parents.map((id) => `parent ${id}\n`).join('');
    const who = `A <a@example.com> ${at} +0000`;
    const content = `tree ${tree}\n${lines}author ${who}\ncommitter ${who}\n\nx\n`;
    return repository.gitWithInput(content, 'hash-object', '-t', 'commit', '-w', '--stdin');
  };
  const main = [commit([])];
  for (let i = 1; i < 400; i++) main.push(commit([main.at(-1) ?? '']));
  const [early = '', lost = ''] = [main[3], main[5]];
  const side = commit([main[390] ?? '']);
  const merge = commit([main.at(-1) ?? '', side]);
  // From before the damage, and so what the damage may hide.
  const old = commit([early]);
  const both = commit([merge, old]);
  repository.git('update-ref', 'refs/heads/main', both);
  rmSync(join(repository.path, '.git/objects', lost.slice(0, 2), lost.slice(2)));
  const ask = (end: string, minimum: string) => {
    try {
      return repository.git('rev-list', '--topo-order', `${minimum}..${end}`).split('\n').filter(Boolean);
    } catch {
      return undefined;
    }
  };
  const repositories = await open(t, repository.path);
  let answered = 0;
  for (const [end, minimum] of [
    [merge, main[395]],
    [merge, main[380]],
    [main[399], side],
    [side, main[399]],
    [main[390], main[399]],
    [main[8], main[7]],
    [main[4], main[2]],
    [main[7], main[4]],
    [both, merge],
    [merge, old],
  ] as const) {
    const query = { end: { refspec: end ?? '', field: 'end' }, minimum: { refspec: minimum ?? '', field: 'minimum' } };
    const ours = await repositories.range('r', query).catch((error: MemoirError) => {
      t.is(error.code, 'DATA_LOSS');
      t.true(error.message.includes(lost), error.message);
      return undefined;
    });
    const theirs = ask(end ?? '', minimum ?? '');
    if (!ours) continue;
    answered++;
    const listed: string[] = [];
    for await (const id of ours.commits()) listed.push(id);
    t.deepEqual([...listed].sort(), [...new Set([...(theirs ?? ['git cannot']), minimum ?? ''])].sort());
  }
  t.is(answered, 7, 'all but what reaches the damage, or begins behind it');
  t.is(await repositories.resolve('r', `${merge}~300`), repository.git('rev-parse', `${merge}~300`));
});
