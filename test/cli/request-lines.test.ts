import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { requestLines } from '../../src/cli/jobs/request-lines.js';

const dir = mkdtempSync(join(tmpdir(), 'memoir-lines-'));
test.after.always(() => rmSync(dir, { recursive: true }));

const line = (description: string) => `{"repository":"r","script":"s","description":"${description}"}`;

function written(name: string, bytes: Buffer): string {
  const file = join(dir, name);
  writeFileSync(file, bytes);
  return file;
}

test('requests are read with a byte order mark, ends of lines of any system, and separators of lines in strings', async (t) => {
  const texts = ['é', 'a\u2028b\u2029c\u0085', '漢字 😀', ''];
  const file = written('any', Buffer.from(`\ufeff${texts.map(line).join('\r\n')}\n`));
  const lines = await requestLines(file, {});
  t.deepEqual(
    lines.map(({ number, request }) => [number, request.description]),
    texts.map((text, i) => [i + 1, text]),
  );
});

test('what is not UTF-8 is refused by its line, since it would silently become another text', async (t) => {
  const file = written('latin', Buffer.concat([Buffer.from(`${line('ok')}\n`), Buffer.from(line('é'), 'latin1')]));
  await t.throwsAsync(requestLines(file, {}), { message: /a line is wrong.*\n {2}line 2: not UTF-8$/ });
});
