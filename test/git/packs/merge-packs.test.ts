import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type HashAlgorithm, sha1, sha256 } from '../../../src/git/hash.js';
import { openObjectStore } from '../../../src/git/objects/object-store.js';
import { createPageCache } from '../../../src/git/objects/paged-file.js';
import { openKnownObjects } from '../../../src/git/packs/known-objects.js';
import { mergePacks } from '../../../src/git/packs/merge-packs.js';
import { packLimits } from '../../../src/git/packs/pack-limits.js';
import { receivePack } from '../../../src/git/packs/receive-pack.js';
import { gitEnvironment, makeRepository } from '../../support/git-repository.js';

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

for (const hash of [sha1, sha256]) {
  test(`many packs of deltas with copies of their bases become one, as git sees it, and readers go on: ${hash.name}`, async (t) => {
    const repository = makeRepository({ objectFormat: hash.name });
    t.teardown(repository.dispose);
    const bare = mkdtempSync(join(tmpdir(), 'memoir-merge-'));
    t.teardown(() => rmSync(bare, { recursive: true, force: true }));
    const run = (args: readonly string[], input: string | Buffer = '', cwd = bare) =>
      execFileSync('git', args, {
        cwd,
        env: gitEnvironment(),
        input,
        stdio: ['pipe', 'pipe', 'pipe'],
        maxBuffer: 1024 ** 3,
      });
    run(['init', '--quiet', '--bare', `--object-format=${hash.name}`]);
    const directory = join(bare, 'objects/pack');
    mkdirSync(directory, { recursive: true });
    const ids = await addPacks(hash, 12);

    const reader = openObjectStore({ repository: 'r', directory: join(bare, 'objects'), hash });
    t.teardown(() => reader.close());
    t.is(reader.read(ids[3] ?? '')?.type, 'commit');
    writeFileSync(join(directory, 'pack-other.keep'), '');
    t.is(await mergePacks(directory, hash, { most: 12, stay: 2 }), 0);
    t.is(await mergePacks(directory, hash, { most: 5, stay: 2 }), 10);
    const packs = readdirSync(directory).filter((name) => name.endsWith('.pack'));
    t.is(packs.length, 3);
    t.is(readdirSync(directory).length, 3 * 3 + 1);
    // They are for the user alone, as those are that came.
    for (const name of packs.flatMap((pack) => [pack, pack.replace('.pack', '.idx')]))
      t.is(statSync(join(directory, name)).mode & 0o777, 0o400, name);
    for (const name of packs) run(['verify-pack', join(directory, name.replace('.pack', '.idx'))]);
    run(['update-ref', 'refs/heads/main', ids.at(-1) ?? '']);
    t.is(run(['fsck', '--strict', '--no-dangling']).toString(), '');
    t.is(run(['rev-list', '--count', 'main']).toString().trim(), String(ids.length));
    for (const id of ids) t.is(reader.read(id)?.type, 'commit');
    // The index that git would write is the same.
    for (const name of packs) {
      const pack = join(directory, name);
      run(['index-pack', '-o', join(bare, 'own.idx'), pack]);
      t.deepEqual(
        run(['show-index', `--object-format=${hash.name}`], readFileSync(join(bare, 'own.idx'))),
        run(['show-index', `--object-format=${hash.name}`], readFileSync(pack.replace('.pack', '.idx'))),
      );
      rmSync(join(bare, 'own.idx'), { force: true });
    }

    async function addPacks(format: HashAlgorithm, count: number): Promise<string[]> {
      const known = openKnownObjects(join(bare, 'objects'), format, createPageCache(1_000_000), packLimits.deltaBytes);
      const options = { hash: format, known, shallow: new Set<string>(), limits: packLimits, monotonic: () => 0 };
      const lines = Array.from({ length: 300 }, (_, i) => `line ${i} of a file\n`);
      const commits: string[] = [];
      for (let i = 0; i < count; i++) {
        lines[i * 20] = `changed ${i}\n`;
        const before = commits.at(-1);
        commits.push(repository.commit({ 'a/file': lines.join(''), [`n${i}`]: String(i) }));
        const offsets = i % 3 === 0 ? [] : ['--delta-base-offset'];
        const revs = `main\n${before === undefined ? '' : `^${before}\n`}`;
        const pack = run(
          ['pack-objects', '--thin', '--stdout', '--revs', '--quiet', ...offsets],
          revs,
          repository.path,
        );
        await receivePack(once(pack), directory, options);
        known.rescan();
      }
      known.close();
      return commits;
    }
  });
}
