import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import { type ConfiguredPlaces, checkedPlaces } from '../../src/worker/check-places.js';
import { scriptEnvironment } from '../../src/worker/script-environment.js';
import { openWorkDirectory } from '../../src/worker/work-directory.js';
import { makeRepository } from '../support/git-repository.js';

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-places-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A directory that can be written and from which nothing may be run, if this system has one. */
function noexecDirectory(t: ExecutionContext): string | undefined {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, path = '', type, options = ''] = line.split(' ');
    if (type !== 'tmpfs' || !options.split(',').includes('noexec') || !options.split(',').includes('rw')) continue;
    try {
      const directory = mkdtempSync(join(path, 'memoir-places-'));
      t.teardown(() => rmSync(directory, { recursive: true, force: true }));
      return directory;
    } catch {
      // It is not this user's to write.
    }
  }
  return undefined;
}

test('what a worker is told of and cannot use is refused by name, and nothing is left', async (t) => {
  const base = scratch(t);
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const file = join(base, 'file');
  writeFileSync(file, '');
  const work = join(base, 'work');
  mkdirSync(work);
  const good: ConfiguredPlaces = {
    workDir: work,
    storeDir: join(base, 'store'),
    kept: undefined,
    repositories: { demo: { path: repository.path } },
    minFreeBytes: 1,
    edge: systemEdge,
    onDamage: () => {},
  };
  const noexec = noexecDirectory(t);
  const cases: [wrong: Partial<ConfiguredPlaces>, message: RegExp][] = [
    [{ workDir: join(base, 'none') }, /^--work-dir ".*none" cannot be used: ENOENT/],
    [{ workDir: file }, /^--work-dir ".*file" is no directory/],
    [{ storeDir: file }, /^--store-dir ".*file" cannot be used: /],
    [{ kept: file }, /^--kept ".*file" is no directory/],
    [
      { repositories: { demo: { path: base } } },
      /^--repository "demo=.*" cannot be used: repository "demo" .*not a git/,
    ],
    [{ repositories: { demo: { path: file } } }, /^--repository "demo=.*file" cannot be used: /],
    [{ minFreeBytes: 2 ** 60 }, /^--work-dir ".*work" cannot be used: .* bytes free, of 1152921504606847000 /],
    ...(noexec ? [[{ workDir: noexec }, /^--work-dir .*\(noexec\)/] as [Partial<ConfiguredPlaces>, RegExp]] : []),
  ];
  if (!noexec) t.log('there is no noexec file system that can be written here');
  for (const [wrong, message] of cases) {
    const error = await t.throwsAsync(checkedPlaces({ ...good, ...wrong }), { instanceOf: MemoirError, message });
    t.is((error as MemoirError).code, 'INVALID_ARGUMENT');
    t.deepEqual(
      readdirSync(work).filter((name) => !name.endsWith('.lock')),
      [],
    );
  }
  const { places, work: opened } = await checkedPlaces(good);
  rmSync(opened.path, { recursive: true });
  for (const place of places) await place.probe();
  t.deepEqual(readdirSync(opened.path), ['owner'], 'a directory that something removed is made again');
  rmSync(join(base, 'store'), { recursive: true });
  await t.throwsAsync(async () => {
    for (const place of places) await place.probe();
  });
  await opened.remove();
});

test('workers with one work directory have directories of their own, whose names come back', async (t) => {
  const base = scratch(t);
  mkdirSync(join(base, 'memoir-worker-2'));
  writeFileSync(join(base, 'memoir-worker-2/owner'), 'of a worker that died');
  mkdirSync(join(base, 'memoir-worker-someone'));
  const one = await openWorkDirectory(base, process.pid);
  t.is(one.path, join(base, 'memoir-worker-1'));
  t.deepEqual(
    readdirSync(base).filter((name) => !name.startsWith('.')),
    ['memoir-worker-1', 'memoir-worker-someone'],
  );
  await one.remove();
  const again = await openWorkDirectory(base, process.pid);
  t.is(again.path, one.path);
  await again.remove();
});

test('the environment of scripts has what is named, and nothing that a run sets itself', (t) => {
  const own = { PATH: '/own', SECRET: 's', HOME: '/root' };
  t.deepEqual(Object.keys(scriptEnvironment(own, {})).sort(), ['LANG', 'PATH', 'TZ']);
  t.not(scriptEnvironment(own, {}).PATH, '/own');
  t.like(scriptEnvironment(own, { path: '/opt/bin', pass: ['SECRET'], set: { A: 'b' } }), {
    PATH: '/opt/bin',
    SECRET: 's',
    A: 'b',
  });
  t.is(scriptEnvironment(own, { pass: ['PATH'] }).PATH, '/own');
  for (const wrong of [
    { pass: ['UNSET'] },
    { pass: ['HOME'] },
    { set: { MEMOIR_OUTPUT: 'x' } },
    { set: { TMPDIR: 'x' } },
    { set: { 'A B': 'x' } },
  ]) {
    t.throws(() => scriptEnvironment(own, wrong), { instanceOf: MemoirError, message: /^--(pass-env|env) "/ });
  }
});
