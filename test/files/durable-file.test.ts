import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { copyDurably, createDurably, replaceDurably, writtenAside } from '../../src/files/durable-file.js';

const directory = mkdtempSync(join(tmpdir(), 'memoir-durable-'));
test.after.always(() => rmSync(directory, { recursive: true }));

/** A directory of its own. */
function place(name: string): string {
  const made = join(directory, name);
  mkdirSync(made);
  return made;
}

test('a file takes the place of another, from one piece or from several', (t) => {
  const here = place('replace');
  const path = join(here, 'file');
  replaceDurably(path, 'first');
  t.is(readFileSync(path, 'utf8'), 'first');
  replaceDurably(path, [Buffer.from('sec'), Buffer.alloc(0), Buffer.from('ond')], { mode: 0o600 });
  t.is(readFileSync(path, 'utf8'), 'second');
  t.is(statSync(path).mode & 0o777, 0o600);
  t.deepEqual(readdirSync(here), ['file']);
});

test('a file that cannot be written is told of by its path and the cause, and leaves what was there', (t) => {
  const here = place('fail');
  const path = join(here, 'file');
  writeFileSync(path, 'before');
  const cut = (function* () {
    yield Buffer.from('half');
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  })();
  const error = t.throws(() => replaceDurably(path, cut), {
    code: 'ENOSPC',
    message: /fail\/file" cannot be written: ENOSPC/,
  });
  t.is((error?.cause as NodeJS.ErrnoException | undefined)?.code, 'ENOSPC');
  t.is(readFileSync(path, 'utf8'), 'before');
  t.deepEqual(readdirSync(here), ['file']);

  const folder = join(here, 'folder');
  mkdirSync(folder);
  t.throws(() => replaceDurably(folder, ''), { code: 'EISDIR', message: /folder" cannot be written/ });
  t.throws(() => replaceDurably(join(here, 'none', 'file'), ''), { code: 'ENOENT' });
  t.deepEqual(readdirSync(here).sort(), ['file', 'folder']);
});

test('a file is made only where nothing is', (t) => {
  const here = place('create');
  const path = join(here, 'file');
  const how = { aside: join(here, 'aside'), mode: 0o600 };
  t.true(createDurably(path, 'mine', how));
  t.is(statSync(path).mode & 0o777, 0o600);
  t.false(createDurably(path, 'yours', how));
  t.is(readFileSync(path, 'utf8'), 'mine');
  t.deepEqual(readdirSync(here), ['file']);
  t.throws(() => createDurably(join(here, 'none', 'file'), '', how), { code: 'ENOENT' });
  t.false(existsSync(how.aside));
});

test('what is written aside gets its name when it is known, or leaves nothing', async (t) => {
  const here = place('aside');
  const path = join(here, 'file');
  const how = { aside: join(here, 'aside'), mode: 0o640 };
  const size = await writtenAside(how, async ({ file, replace }) => {
    await file.writeFile('first');
    t.deepEqual(readdirSync(here), ['aside']);
    await replace(path);
    return 5;
  });
  t.is(size, 5);
  t.is(statSync(path).mode & 0o777, 0o640);
  const create = (text: string, to: string) =>
    writtenAside(how, async (opened) => {
      await opened.file.writeFile(text);
      return opened.create(to);
    });
  t.false(await create('second', path));
  t.true(await create('third', join(here, 'third')));
  await writtenAside(how, ({ file, replace }) => file.writeFile('fourth').then(() => replace(path)));
  t.is(readFileSync(path, 'utf8'), 'fourth');
  t.is(readFileSync(join(here, 'third'), 'utf8'), 'third');
  // Nothing is put anywhere, and then it fails.
  await writtenAside(how, ({ file }) => file.writeFile('fifth'));
  await t.throwsAsync(
    writtenAside(how, () => Promise.reject(new RangeError('as it is'))),
    { instanceOf: RangeError, message: 'as it is' },
  );
  t.deepEqual(readdirSync(here).sort(), ['file', 'third']);
});

test('what is written aside and cannot get its name is told of by that and the cause', async (t) => {
  const here = place('aside-fail');
  const how = { aside: join(here, 'aside'), mode: 0o600 };
  const none = join(here, 'none', 'file');
  for (const put of ['replace', 'create'] as const) {
    const error = await t.throwsAsync(
      writtenAside(how, async (opened) => void (await opened[put](none))),
      { code: 'ENOENT', message: /none\/file" cannot be written: ENOENT/ },
    );
    t.is((error.cause as NodeJS.ErrnoException).code, 'ENOENT');
    t.is((error as NodeJS.ErrnoException).syscall, 'rename');
  }
  await t.throwsAsync(
    writtenAside({ ...how, aside: none }, async () => t.fail()),
    { code: 'ENOENT', message: /none\/file" cannot be written/ },
  );
  t.deepEqual(readdirSync(here), []);
});

test('a file is copied whole', (t) => {
  const here = place('copy');
  const bytes = Buffer.alloc(3 * 1024 * 1024 + 5, 'some bytes ');
  writeFileSync(join(here, 'from'), bytes);
  copyDurably(join(here, 'from'), join(here, 'to'));
  t.true(readFileSync(join(here, 'to')).equals(bytes));
  t.throws(() => copyDurably(join(here, 'none'), join(here, 'other')), { code: 'ENOENT', message: /other" cannot be/ });
  t.deepEqual(readdirSync(here).sort(), ['from', 'to']);
});
