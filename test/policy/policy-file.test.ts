import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { openPolicyFile, readPolicy } from '../../src/policy/policy-file.js';
import { test } from '../support/serial.js';
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

const submitting = grant('ada').replace('reader', 'submitter');

const wrong: [what: string, text: string, message: RegExp][] = [
  ['no TOML', 'grants = [', /cannot be used: /],
  ['nothing in it', '', /it has no grant, so that nobody could do anything/],
  ['groups alone', '[groups]\nlab = ["ada"]\n', /it has no grant/],
  ['another key', `owner = "x"\n${grant('ada')}`, /Unrecognized key: "owner"/],
  ['another role', grant('ada').replace('reader', 'king'), /roles/],
  ['nobody to grant to', grant('ada').replace('"ada"', ''), /to/],
  ['a group that is not there', grant('group:g'), /"group:g", and there is no such group/],
  ['a glob with a brace', grant('ada', '{a,b}'), /is no glob/],
  ['a share of a group that is not there', `${grant('ada')}[[shares]]\nto = ["group:g"]\n`, /a share names "group:g"/],
  ...['0', '1001', '1.5', '-1', '"many"', 'nan', '[1]'].map((value): [string, string, RegExp] => [
    `a weight of ${value}`,
    `${grant('ada')}[[shares]]\nto = ["ada"]\nweight = ${value}\n`,
    new RegExp(
      `"${value.replace(/["[\]]/g, '').replace('nan', 'NaN')}" is no weight: give a whole number from 1 to 1000`,
    ),
  ]),
  [
    'a cap below zero',
    `${grant('ada')}[[caps]]\nrepositories = ["a"]\nmax_running = -1\n`,
    /"-1" is no number of running jobs/,
  ],
  [
    'a quota that is no number',
    `${grant('ada')}[[shares]]\nto = ["ada"]\nmax_queued = "all"\n`,
    /"all" is no number of queued jobs/,
  ],
  ['a cap of no repository', `${grant('ada')}[[caps]]\nrepositories = []\nmax_running = 1\n`, /repositories/],
  [
    'a bound on nothing',
    `${grant('ada')}max_cores = 1\n`,
    /the grant to "ada" has max_cores, and lets nobody request jobs/,
  ],
  [
    'places for who adds nothing',
    `${submitting}places = ["/srv"]\n`,
    /"ada" has places, and lets nobody add repositories/,
  ],
  ...['srv', '/srv/../etc', 'https://', ''].map((value): [string, string, RegExp] => [
    `the place "${value}"`,
    `${submitting.replace('submitter', 'admin')}places = ["${value}"]\n`,
    /is neither an absolute path nor a URL/,
  ]),
  ['a bound below nothing', `${submitting}max_ram_mb = -1\n`, /"-1" is no number of MiB/],
  ['a bound that is no number', `${submitting}max_priority = "high"\n`, /"high" is no priority/],
];

for (const [what, text, message] of wrong) {
  test(`a policy with ${what} is refused`, (t) => {
    const path = file(text);
    const error = t.throws(() => readPolicy(path));
    t.regex(error.message, message);
    t.true(error.message.includes(path));
  });
}

test('bounds are read', (t) => {
  const { grants } = readPolicy(file(`${submitting}max_priority = -3\nmax_ram_mb = 1024\n${grant('bob')}`));
  t.deepEqual(
    grants.map(({ bounds }) => bounds),
    [{ priority: -3, ramMb: 1_024 }, undefined],
  );
});

test('places are read', (t) => {
  const places = ['/srv/git/', 'https://git.example.org/team'];
  const text = `${grant('ada').replace('reader', 'admin')}places = ${JSON.stringify(places)}\n`;
  t.deepEqual(readPolicy(file(text)).grants[0]?.places, places);
});

test('a missing file is refused', (t) => {
  t.throws(() => readPolicy(join(dir, 'none.toml')), { message: /none\.toml.*cannot be used: ENOENT/ });
});

test('of each part of a share the first counts that names the owner', (t) => {
  const shares = `${grant('*')}[groups]
lab = ["ada", "bob"]
[[shares]]
to = ["bob"]
max_running = 0
[[shares]]
to = ["group:lab"]
weight = 3
max_running = 5
[[shares]]
to = ["*"]
weight = 2
max_queued = 7
[[caps]]
repositories = ["genome/*"]
max_running = 4
[[caps]]
repositories = ["**"]
max_running = 9
`;
  const policy = openPolicyFile(file(shares), pino({ level: 'silent' }));
  t.teardown(() => policy.close());
  const { ofOwner, maxRunningOf } = policy.shares;
  t.deepEqual(ofOwner('ada'), { weight: 3, maxRunning: 5, maxQueued: 7 });
  t.deepEqual(ofOwner('bob'), { weight: 3, maxRunning: 0, maxQueued: 7 });
  t.deepEqual(ofOwner('carol'), { weight: 2, maxRunning: undefined, maxQueued: 7 });
  t.is(maxRunningOf('genome/human'), 4);
  t.is(maxRunningOf('genome/human/old'), 9);
  t.deepEqual(readPolicy(file(grant('*'))).shares, []);
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

test('what is half written is not taken, and what was done is told', async (t) => {
  type Line = { msg: string; grants?: number; added?: string[]; removed?: string[] };
  const lines: Line[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const both = grant('ada') + grant('bob');
  const path = file(both);
  const policy = openPolicyFile(path, logger);
  t.teardown(() => policy.close());
  const told = async (msg: string, count: number) => {
    const those = () => lines.filter((line) => line.msg.includes(msg));
    await until('it', () => those().length === count);
    return those().at(-1);
  };

  // As a copy does it: emptied, then written up to the end of a grant, then whole.
  writeFileSync(path, '');
  await told('cannot be used', 1);
  t.true(policy.accessOf('bob').knows('a'));
  writeFileSync(path, grant('ada'));
  const cut = performance.now();
  while (performance.now() - cut < 2_000) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.true(policy.accessOf('bob').knows('a'), 'cut between two grants');
  }
  writeFileSync(path, both + grant('eve', 'b'));
  const done = await told('read again', 1);
  t.deepEqual([done?.grants, done?.added?.length, done?.removed?.length], [3, 1, 0]);
  t.true(done?.added?.[0]?.includes('eve'));
  t.true(policy.accessOf('eve').knows('b'));

  // Who means it waits a little longer.
  writeFileSync(path, grant('ada'));
  const meant = await told('read again', 2);
  t.deepEqual([meant?.grants, meant?.removed?.length], [1, 2]);
  t.false(policy.accessOf('bob').knows('a'));
});
