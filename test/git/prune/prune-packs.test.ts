import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type HashAlgorithm, sha1, sha256 } from '../../../src/git/hash.js';
import { openMirrorStore } from '../../../src/git/mirror/mirror-store.js';
import { openObjectStore } from '../../../src/git/objects/object-store.js';
import { createPageCache } from '../../../src/git/objects/paged-file.js';
import { openKnownObjects } from '../../../src/git/packs/known-objects.js';
import { packLimits } from '../../../src/git/packs/pack-limits.js';
import { receivePack } from '../../../src/git/packs/receive-pack.js';
import { prunePacks } from '../../../src/git/prune/prune-packs.js';
import { histories, writeHistory } from '../../support/git-history.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

function git(cwd: string, args: readonly string[], input: string | Buffer = ''): Buffer {
  const stdio = ['pipe', 'pipe', 'pipe'] as ['pipe', 'pipe', 'pipe'];
  return execFileSync('git', args, { cwd, env: gitEnvironment(), input, stdio, maxBuffer: 1024 ** 3 });
}
const linesOf = (bytes: Buffer): string[] => bytes.toString().split('\n').filter(Boolean);

const open = (bare: string, hash: HashAlgorithm) =>
  openKnownObjects(join(bare, 'objects'), hash, createPageCache(1_000_000), packLimits.deltaBytes);

/** Takes what commits reach, and those before do not, into a bare repository, as a pack of its own. */
async function take(
  bare: string,
  from: TestRepository,
  hash: HashAlgorithm,
  commit: string,
  before: readonly string[],
) {
  const revs = `${commit}\n${before.map((id) => `^${id}\n`).join('')}`;
  const pack = git(from.path, ['pack-objects', '--thin', '--stdout', '--revs', '--quiet', '--delta-base-offset'], revs);
  const known = open(bare, hash);
  const options = { hash, known, shallow: new Set<string>(), limits: packLimits, monotonic: () => 0 };
  await receivePack(once(pack), join(bare, 'objects/pack'), options);
  known.close();
}

function makeBare(hash: HashAlgorithm): string {
  const bare = mkdtempSync(join(tmpdir(), 'memoir-prune-'));
  git(bare, ['init', '--quiet', '--bare', `--object-format=${hash.name}`]);
  mkdirSync(join(bare, 'objects/pack'), { recursive: true });
  return bare;
}

const everything = (bare: string): string[] =>
  linesOf(git(bare, ['cat-file', '--batch-all-objects', '--batch-check=%(objectname)'])).sort();

/** What commits reach, as git tells it. */
const reached = (bare: string, commits: readonly string[]): string[] =>
  linesOf(git(bare, ['rev-list', '--objects', '--no-object-names', '--stdin'], `${commits.join('\n')}\n`)).sort();

async function prune(bare: string, hash: HashAlgorithm, must: readonly string[], may: readonly string[] = []) {
  const known = open(bare, hash);
  try {
    return await prunePacks(bare, { must, may }, known, new Set(), hash);
  } finally {
    known.close();
  }
}

function isSound(t: ExecutionContext, bare: string): void {
  for (const name of readdirSync(join(bare, 'objects/pack')).filter((file) => file.endsWith('.idx')))
    git(bare, ['verify-pack', join('objects/pack', name)]);
  t.is(git(bare, ['fsck', '--strict', '--no-dangling', '--full']).toString(), '');
}

/** Files of which each commit has a little other ones, so that packs have deltas from commit to commit. */
function manyCommits(repository: TestRepository, count: number): string[] {
  const lines = Array.from({ length: 300 }, (_, i) => `line ${i} of a file\n`);
  return Array.from({ length: count }, (_, i) => {
    lines[i * 20] = `changed ${i}\n`;
    return repository.commit({ 'a/file': lines.join(''), [`n${i}`]: String(i) });
  });
}

for (const hash of [sha1, sha256]) {
  test(`what is not reached goes, deltas of it become whole, and readers go on: ${hash.name}`, async (t) => {
    const repository = makeRepository({ objectFormat: hash.name });
    t.teardown(repository.dispose);
    const bare = makeBare(hash);
    t.teardown(() => rmSync(bare, { recursive: true, force: true }));
    const commits = manyCommits(repository, 9);
    await take(bare, repository, hash, commits[5] as string, []);
    await take(bare, repository, hash, commits[8] as string, [commits[5] as string]);
    repository.git('checkout', '--quiet', commits[2] as string);
    const side = repository.commit({ side: 'x' });
    repository.git('tag', '-a', '-m', 'x', 'v1');
    const tag = repository.git('rev-parse', 'v1');
    await take(bare, repository, hash, tag, [commits[8] as string]);

    const all = everything(bare);
    const reader = openObjectStore({ repository: 'r', directory: join(bare, 'objects'), hash });
    t.teardown(() => reader.close());
    t.is(reader.read(commits[1] as string)?.type, 'commit');

    t.deepEqual(await prune(bare, hash, [commits[8] as string], [tag]), { objects: 0, packs: 0 });
    // The newest of files and trees are what git makes deltas of.
    const staying = reached(bare, [commits[2] as string, tag]);
    const { objects } = await prune(bare, hash, [commits[2] as string], [tag, '7'.repeat(hash.hex)]);
    t.true(objects >= all.length - staying.length);
    t.deepEqual(everything(bare), staying);
    git(bare, ['update-ref', 'refs/heads/main', commits[2] as string]);
    git(bare, ['update-ref', 'refs/tags/v1', tag]);
    isSound(t, bare);
    for (const id of staying) t.not(reader.read(id), undefined);
    reader.rescan();
    t.is(reader.read(commits[8] as string), undefined);
    t.is(reader.read(side)?.type, 'commit');
    // What went can come again.
    await take(bare, repository, hash, commits[8] as string, [commits[2] as string]);
    git(bare, ['update-ref', 'refs/heads/main', commits[8] as string]);
    isSound(t, bare);
    t.deepEqual(everything(bare), all);
    // Nothing stays at all.
    await prune(bare, hash, []);
    t.deepEqual(readdirSync(join(bare, 'objects/pack')), []);
  });
}

test('what is reached and missing is an error, and then nothing goes', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const bare = makeBare(sha1);
  t.teardown(() => rmSync(bare, { recursive: true, force: true }));
  const commits = manyCommits(repository, 3);
  await take(bare, repository, sha1, commits[2] as string, []);
  const all = everything(bare);
  await t.throwsAsync(prune(bare, sha1, [commits[0] as string, '7'.repeat(40)]), { message: /7777.*is missing/ });
  t.deepEqual(everything(bare), all);
});

test('a history that is cut off is gone through to the cut, and not beyond', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const bare = makeBare(sha1);
  t.teardown(() => rmSync(bare, { recursive: true, force: true }));
  const commits = manyCommits(repository, 4);
  const objectsOf = (commit: string): string[] => [
    commit,
    repository.git('rev-parse', `${commit}^{tree}`),
    ...linesOf(git(repository.path, ['ls-tree', '-r', '-t', '--object-only', commit])),
  ];
  const [cut, other] = [commits[3] as string, commits[1] as string];
  const shallow = new Set([cut, other]);
  const listed = [...new Set([...objectsOf(cut), ...objectsOf(other)])];
  const pack = git(repository.path, ['pack-objects', '--stdout', '--quiet'], `${listed.join('\n')}\n`);
  const known = open(bare, sha1);
  t.teardown(() => known.close());
  const options = { hash: sha1, known, shallow, limits: packLimits, monotonic: () => 0 };
  await receivePack(once(pack), join(bare, 'objects/pack'), options);
  known.rescan();
  t.deepEqual(everything(bare), listed.sort());
  await t.throwsAsync(prunePacks(bare, { must: [cut], may: [] }, known, new Set(), sha1), { message: /is missing/ });
  t.deepEqual(everything(bare), listed);
  await prunePacks(bare, { must: [cut], may: [] }, known, shallow, sha1);
  t.deepEqual(everything(bare), objectsOf(cut).sort());
});

test('cut short at any step, everything that is reached is there, and the next who opens it goes on', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const scratch = mkdtempSync(join(tmpdir(), 'memoir-prune-steps-'));
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
  const bare = makeBare(sha1);
  t.teardown(() => rmSync(bare, { recursive: true, force: true }));
  const commits = manyCommits(repository, 8);
  for (const [i, commit] of commits.entries())
    if (i % 2 === 1) await take(bare, repository, sha1, commit, i > 1 ? [commits[i - 2] as string] : []);
  repository.git('checkout', '--quiet', commits[4] as string);
  const side = repository.commit({ side: 'x' });
  await take(bare, repository, sha1, side, [commits[7] as string]);
  git(bare, ['update-ref', 'refs/heads/main', side]);
  const packs = join(bare, 'objects/pack');
  const before = readdirSync(packs);
  const done = join(scratch, 'done');
  cpSync(bare, done, { recursive: true });
  const { packs: rewritten } = await prune(done, sha1, [side]);
  t.true(rewritten >= 2);
  const after = readdirSync(join(done, 'objects/pack'));
  const staying = reached(done, [side]);
  t.deepEqual(everything(done), staying);
  const fresh = after.filter((name) => !before.includes(name));
  const gone = before.filter((name) => !after.includes(name));
  const stems = [...new Set(gone.map((name) => name.split('.')[0] as string))];
  t.is(stems.length, rewritten);
  const removals = stems.flatMap((stem) => [`${stem}.idx`, `${stem}.whole`, `${stem}.pack`]);
  const freshStems = [...new Set(fresh.map((name) => name.split('.')[0] as string))];
  const arrivals = freshStems.flatMap((stem) => [`${stem}.whole`, `${stem}.pack`, `${stem}.idx`]);

  let states = 0;
  const look = async (arrived: number, named: boolean, removed: number) => {
    const state = join(scratch, `state-${states++}`);
    cpSync(bare, state, { recursive: true });
    for (const name of arrivals.slice(0, arrived))
      cpSync(join(done, 'objects/pack', name), join(state, 'objects/pack', name));
    if (named) writeFileSync(join(state, 'memoir-removing'), stems.map((stem) => `${stem}\n`).join(''));
    for (const name of removals.slice(0, removed)) rmSync(join(state, 'objects/pack', name), { force: true });
    const what = `${arrived} ${named} ${removed}`;
    // As a reader finds it.
    const reader = openObjectStore({ repository: 'r', directory: join(state, 'objects'), hash: sha1 });
    for (const id of staying) t.not(reader.read(id), undefined, what);
    reader.close();
    const store = openMirrorStore(state, sha1, packLimits);
    // What counts as known is whole.
    const listed = everything(state).filter((id) => store.known.typeOf(Buffer.from(id, 'hex')) === 'commit');
    t.notThrows(() => reached(state, listed), what);
    if (named) t.deepEqual(everything(state), staying, what);
    store.close();
    await prune(state, sha1, [side]);
    t.deepEqual(everything(state), staying, what);
    isSound(t, state);
    rmSync(state, { recursive: true });
  };
  for (let arrived = 0; arrived <= arrivals.length; arrived++) await look(arrived, false, 0);
  for (let removed = 0; removed <= removals.length; removed++) await look(arrivals.length, true, removed);
});

test('of random histories and roots exactly what git reaches stays', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      histories(30),
      fc.array(fc.nat(29), { maxLength: 3 }),
      fc.array(fc.nat(29)),
      async (history, roots, cuts) => {
        const repository = makeRepository();
        const bare = makeBare(sha1);
        try {
          writeHistory(repository, history);
          const commits = linesOf(git(repository.path, ['rev-list', '--all', '--topo-order', '--reverse']));
          const ends = [
            ...new Set([...cuts.map((cut) => commits[cut % commits.length] as string), ...commits.slice(-1)]),
          ];
          const before: string[] = [];
          for (const end of ends) {
            const isNew =
              before.length === 0 ||
              linesOf(git(repository.path, ['rev-list', end, ...before.map((id) => `^${id}`)])).length > 0;
            if (isNew) await take(bare, repository, sha1, end, before);
            before.push(end);
          }
          const there = roots.map((root) => ends[root % ends.length] as string);
          const staying = there.length === 0 ? [] : [...new Set(reached(bare, there))];
          await prune(bare, sha1, there.slice(0, 1), there.slice(1));
          t.deepEqual(everything(bare), staying);
          for (const name of readdirSync(join(bare, 'objects/pack')).filter((file) => file.endsWith('.idx')))
            git(bare, ['verify-pack', join('objects/pack', name)]);
        } finally {
          repository.dispose();
          rmSync(bare, { recursive: true, force: true });
        }
      },
    ),
    { numRuns: rounds(6, 200) },
  );
});
