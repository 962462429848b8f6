import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { pino } from 'pino';
import { openPolicyFile, readPolicy } from '../../src/policy/policy-file.js';
import { until } from '../support/until.js';

const dir = mkdtempSync(join(tmpdir(), 'memoir-policy-'));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
function file(text: string): string {
  const path = join(dir, `${++files}.toml`);
  writeFileSync(path, text);
  return path;
}

const grant = (to: string, repositories = 'a') =>
  `[[grants]]\nto = ["${to}"]\nroles = ["reader"]\nrepositories = ["${repositories}"]\n`;

const wrong: [what: string, text: string, message: RegExp][] = [
  ['no TOML', 'grants = [', /cannot be used: /],
  ['another key', `owner = "x"\n${grant('ada')}`, /Unrecognized key: "owner"/],
  ['another role', grant('ada').replace('reader', 'king'), /roles/],
  ['nobody to grant to', grant('ada').replace('"ada"', ''), /to/],
  ['a group that is not there', grant('group:g'), /"group:g", and there is no such group/],
  ['a glob with a brace', grant('ada', '{a,b}'), /is no glob/],
];

for (const [what, text, message] of wrong) {
  test(`a policy with ${what} is refused`, (t) => {
    const path = file(text);
    const error = t.throws(() => readPolicy(path));
    t.regex(error.message, message);
    t.true(error.message.includes(path));
  });
}

test('a missing file is refused', (t) => {
  t.throws(() => readPolicy(join(dir, 'none.toml')), { message: /none\.toml.*cannot be used: ENOENT/ });
});

test('a change is followed, a broken one is not', async (t) => {
  const lines: { msg: string; err?: { message: string } }[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const path = file(grant('ada'));
  const policy = openPolicyFile(path, logger);
  t.teardown(() => policy.close());
  t.true(policy.accessOf('ada').knows('a'));
  t.false(policy.accessOf('bob').knows('a'));

  writeFileSync(`${path}.new`, grant('bob'));
  renameSync(`${path}.new`, path);
  await until('it', () => policy.accessOf('bob').knows('a'));
  t.false(policy.accessOf('ada').knows('a'));

  writeFileSync(path, 'grants = [');
  await until('it', () => lines.some(({ msg }) => msg.includes('cannot be used')));
  t.true(policy.accessOf('bob').knows('a'));
  rmSync(path);
  await until('it', () => lines.filter(({ msg }) => msg.includes('cannot be used')).length === 2);
  t.true(policy.accessOf('bob').knows('a'));
});
