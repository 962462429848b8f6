import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTokenFile, readTokenFile } from '../../src/cli/log/token-file.js';
import { MemoirError } from '../../src/domain/errors.js';
import { test } from '../support/serial.js';
import { until } from '../support/until.js';

test('the first token is kept at once, and those that follow soon or when it is asked for', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-token-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'token');
  t.is(readTokenFile(path), undefined);
  const file = openTokenFile(path);
  file.keep('1');
  t.is(readTokenFile(path), '1');
  file.keep('2');
  file.keep('3');
  await until('the last one is kept', () => readTokenFile(path) === '3');
  file.keep('4');
  file.flush();
  t.is(readTokenFile(path), '4');
  t.deepEqual(readdirSync(directory), ['token']);

  // What fails when nobody asks is told the next time.
  rmSync(path);
  mkdirSync(path);
  const refused = await until('the failure is told', () => {
    try {
      file.keep('5');
      return undefined;
    } catch (error) {
      return error as MemoirError;
    }
  });
  t.true(refused instanceof MemoirError);
  t.regex(refused.message, /^--resume ".*token" cannot be written: EISDIR/);
  t.throws(() => file.flush(), { instanceOf: MemoirError });
});
