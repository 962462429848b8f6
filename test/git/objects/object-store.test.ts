import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import { sha1, sha256 } from '../../../src/git/hash.js';
import { type ObjectStore, openObjectStore } from '../../../src/git/objects/object-store.js';
import { createPageCache } from '../../../src/git/objects/paged-file.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';

type Expected = { readonly id: string; readonly type: string; readonly content: Buffer };

/** Every object of a repository as git has it. */
function allObjects({ path }: TestRepository): Expected[] {
  const output = execFileSync('git', ['cat-file', '--batch-all-objects', '--batch'], {
    cwd: path,
    env: gitEnvironment(),
    maxBuffer: 2 ** 30,
  });
  const objects: Expected[] = [];
  for (let at = 0; at < output.length; ) {
    const end = output.indexOf(10, at);
    const [id = '', type = '', size] = output.toString('latin1', at, end).split(' ');
    const content = output.subarray(end + 1, end + 1 + Number(size));
    objects.push({ id, type, content });
    at = end + 1 + content.length + 1;
  }
  return objects;
}

/** A repository with deltas in chains, of commits too: long messages that differ in a word are worth one. A copy of one that is made once. */
function makeDeltas(t: ExecutionContext, objectFormat: 'sha1' | 'sha256'): TestRepository {
  made[objectFormat] ??= madeOnce(objectFormat);
  const repository = makeRepository({ objectFormat });
  t.teardown(repository.dispose);
  cpSync(made[objectFormat].path, repository.path, { recursive: true });
  return repository;
}

const made: Partial<Record<'sha1' | 'sha256', TestRepository>> = {};
test.after.always(() => {
  for (const repository of Object.values(made)) repository.dispose();
});

function madeOnce(objectFormat: 'sha1' | 'sha256'): TestRepository {
  const repository = makeRepository({ objectFormat });
  const words = Array.from({ length: 400 }, (_, i) => `word${i}`);
  for (let i = 0; i < 12; i++) {
    words[i * 7] = `changed${i}`;
    repository.commit({ 'a.txt': words.join('\n'), [`dir/${i}`]: words.join(' ') }, words.join('\n'));
    repository.git('tag', '-a', '-m', words.join('\n'), `v${i}`);
  }
  return repository;
}

const objectDir = ({ path }: TestRepository) => join(path, '.git/objects');

function open(t: ExecutionContext, directory: string, objectFormat: 'sha1' | 'sha256' = 'sha1'): ObjectStore {
  const hash = objectFormat === 'sha1' ? sha1 : sha256;
  const store = openObjectStore({ repository: 'r', directory, hash, pages: createPageCache(65_536) });
  t.teardown(store.close);
  return store;
}

const forms: Record<string, string[][]> = {
  loose: [],
  'one pack, deltas by offset': [['repack', '-adfq', '--depth=50', '--window=50']],
  'one pack, deltas by id': [['-c', 'repack.useDeltaBaseOffset=false', 'repack', '-adfq', '--depth=50', '--window=50']],
  'an index of version 1': [['-c', 'pack.indexVersion=1', 'repack', '-adfq', '--depth=50', '--window=50']],
  'multi-pack index': [
    ['repack', '-dq'],
    ['multi-pack-index', 'write'],
  ],
};

for (const objectFormat of ['sha1', 'sha256'] as const) {
  for (const [form, commands] of Object.entries(forms)) {
    test(`reads every object as git does: ${form}, ${objectFormat}`, (t) => {
      const repository = makeDeltas(t, objectFormat);
      for (const command of commands) repository.git(...command);
      const store = open(t, objectDir(repository), objectFormat);
      for (const { id, type, content } of allObjects(repository)) {
        t.is(store.typeOf(id), type as never);
        const object = store.read(id);
        t.is(object?.type, type as never);
        t.true(object?.data.equals(content));
        const fleeting = store.readFleeting(Buffer.from(id, 'hex'));
        t.is(fleeting?.type, type as never);
        t.true(fleeting?.data.equals(content));
        t.deepEqual(store.withPrefix(id.slice(0, 12), 10), [id]);
      }
      const absent = 'ab'.repeat(objectFormat === 'sha1' ? 20 : 32);
      t.is(store.read(absent), undefined);
      t.is(store.typeOf(absent), undefined);
      t.deepEqual(store.withPrefix('abababab', 10), []);
    });
  }
}

test('reads by an index of version 1 as git index-pack makes it', (t) => {
  const repository = makeDeltas(t, 'sha1');
  repository.git('repack', '-adfq');
  asFirstVersion(repository);
  const store = open(t, objectDir(repository));
  for (const { id, content } of allObjects(repository)) t.true(store.read(id)?.data.equals(content), id);
});

/** Gives the one pack of a repository an index of version 1. */
function asFirstVersion(repository: TestRepository): void {
  const directory = join(objectDir(repository), 'pack');
  const name = readdirSync(directory).find((file) => file.endsWith('.pack')) ?? '';
  const index = join(directory, name.replace('.pack', '.idx'));
  rmSync(index);
  repository.git('index-pack', '--index-version=1', '-o', index, join(directory, name));
  if (readFileSync(index).readUInt32BE(0) === 0xff744f63) throw new Error('git wrote another version');
}

test('some of the objects are deltas, or the tests above would say little', (t) => {
  const repository = makeDeltas(t, 'sha1');
  repository.git('repack', '-adfq', '--depth=50', '--window=50');
  const deltas = repository
    .git('cat-file', '--batch-all-objects', '--batch-check=%(objecttype) %(deltabase)')
    .split('\n');
  for (const type of ['commit', 'tag', 'blob']) {
    t.true(
      deltas.some((line) => line.startsWith(`${type} `) && !/ 0+$/.test(line)),
      type,
    );
  }
});

test('reads objects from several packs, loose ones and alternates of alternates', (t) => {
  const origin = makeDeltas(t, 'sha1');
  origin.git('repack', '-adq');
  origin.commit({ more: 'in a second pack' });
  origin.git('repack', '-dq');
  origin.commit({ more: 'loose' });
  const directory = mkdtempSync(join(tmpdir(), 'memoir-git-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  origin.git('clone', '--quiet', '--shared', '.', join(directory, 'one'));
  origin.git('clone', '--quiet', '--shared', join(directory, 'one'), join(directory, 'two'));
  const store = open(t, join(directory, 'two/.git/objects'));
  for (const { id, type } of allObjects(origin)) t.is(store.read(id)?.type, type as never);
});

test('a pack that appears and one that goes are noticed', (t) => {
  const repository = makeDeltas(t, 'sha1');
  const store = open(t, objectDir(repository));
  const before = repository.git('rev-parse', 'HEAD');
  t.is(store.typeOf(before), 'commit');
  for (let i = 0; i < 3; i++) {
    const commit = repository.commit({ file: `${i}` });
    repository.git('repack', '-adq');
    repository.git('multi-pack-index', 'write');
    t.is(store.typeOf(commit), 'commit');
    t.is(store.read(before)?.type, 'commit');
  }
});

/** Copies the objects of a packed repository, damages a copy of each kind of file and checks what comes of reading all objects. */
function readDamaged(
  t: ExecutionContext,
  suffix: '.pack' | '.idx' | 'multi-pack-index' | 'loose',
  damage: (path: string, random: number) => void,
  prepare: (repository: TestRepository) => void = () => undefined,
): { wrong: number; told: number; lost: number } {
  const repository = makeDeltas(t, 'sha1');
  if (suffix !== 'loose') repository.git('repack', '-adfq', '--depth=50', '--window=50');
  prepare(repository);
  if (suffix === 'multi-pack-index') repository.git('multi-pack-index', 'write');
  const ids = repository
    .git('rev-list', '--objects', '--all')
    .split('\n')
    .map((line) => line.slice(0, 40));
  const pristine = open(t, objectDir(repository));
  const expected = new Map(ids.map((id) => [id, pristine.read(id)?.data.toString('latin1')]));
  const counts = { wrong: 0, told: 0, lost: 0 };
  for (const random of fc.sample(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), {
    numRuns: rounds(20, 60),
    seed: 7,
  })) {
    const copy = mkdtempSync(join(tmpdir(), 'memoir-git-'));
    cpSync(objectDir(repository), copy, { recursive: true });
    const files = readdirSync(copy, { recursive: true, encoding: 'utf8' }).filter((file) =>
      suffix === 'loose' ? /^[0-9a-f]{2}\/[0-9a-f]{38}$/.test(file) : file.endsWith(suffix),
    );
    const path = join(copy, files[Math.floor(random * files.length)] ?? '');
    chmodSync(path, 0o644);
    damage(path, (random * 7919) % 1);
    try {
      const store = openObjectStore({ repository: 'r', directory: copy, hash: sha1, pages: createPageCache(1 << 20) });
      for (const id of ids) {
        try {
          store.typeOf(id);
          const object = store.read(id);
          if (!object) counts.lost++;
          else if (object.data.toString('latin1') !== expected.get(id)) counts.wrong++;
        } catch (error) {
          if (!(error instanceof MemoirError)) throw error;
          t.is(error.code, 'DATA_LOSS');
          t.true(error.message.includes('"r"') && error.message.includes(id), error.message);
          counts.told++;
        }
      }
      store.close();
    } finally {
      rmSync(copy, { recursive: true });
    }
  }
  return counts;
}

const flip = (path: string, random: number) => {
  const bytes = readFileSync(path);
  const at = Math.floor(random * bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
  writeFileSync(path, bytes);
};
const cut = (path: string, random: number) => truncateSync(path, Math.floor(random * readFileSync(path).length));

for (const [what, damage] of [
  ['flipped bit', flip],
  ['cut end', cut],
] as const) {
  test(`a pack with a ${what} gives right objects or tells repository and object`, (t) => {
    const { wrong, told } = readDamaged(t, '.pack', damage);
    t.is(wrong, 0);
    t.true(told > 0);
  });

  test(`a loose object with a ${what} is told`, (t) => {
    const { wrong, told, lost } = readDamaged(t, 'loose', damage);
    t.is(wrong, 0);
    t.is(lost, 0);
    t.true(told > 0);
  });

  test(`a pack index with a ${what} never gives a wrong object`, (t) => {
    const { wrong } = readDamaged(t, '.idx', damage);
    t.is(wrong, 0);
  });

  test(`a pack index of version 1 with a ${what} never gives a wrong object`, (t) => {
    const { wrong } = readDamaged(t, '.idx', damage, asFirstVersion);
    t.is(wrong, 0);
  });

  test(`a multi-pack index with a ${what} never gives a wrong object`, (t) => {
    const { wrong } = readDamaged(t, 'multi-pack-index', damage);
    t.is(wrong, 0);
  });
}
