import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { serverSettings } from '../../src/config/settings.js';
import { checkPolicy } from '../../src/policy/check-policy.js';

// docs/deploy.md: the files that it has people write are such as Memoir takes.

const page = readFileSync(fileURLToPath(new URL('../../../docs/deploy.md', import.meta.url)), 'utf8');
const directory = mkdtempSync(join(tmpdir(), 'memoir-page-'));
test.after.always(() => rmSync(directory, { recursive: true }));

/** Files of the page by what their first line calls them. */
const files = [...page.matchAll(/^ {4}# (\S+\.toml)\n((?: {4}.*\n|\n(?= {4}))+)/gm)].map(
  ([, name = '', text = '']) => ({ name, text: text.replaceAll(/^ {4}/gm, '') }),
);

test('the settings and policies of the page are taken', async (t) => {
  t.true(files.length >= 2);
  for (const [i, { name, text }] of files.entries()) {
    const path = join(directory, `${i}.toml`);
    writeFileSync(path, text);
    if (name.endsWith('policy.toml')) t.deepEqual(checkPolicy(path).warnings, [], name);
    else
      await t.notThrowsAsync(
        serverSettings({ file: path, environment: { MEMOIR_DATA_DIR: directory }, flags: {}, directory }),
        name,
      );
  }
});
