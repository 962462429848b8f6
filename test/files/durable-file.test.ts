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
import { createDurably, replaceDurably } from '../../src/files/durable-file.js';

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
