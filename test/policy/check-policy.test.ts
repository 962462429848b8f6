import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { checkPolicy, explainPolicy } from '../../src/policy/check-policy.js';

const dir = mkdtempSync(join(tmpdir(), 'memoir-check-policy-'));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

const path = join(dir, 'policy.toml');
writeFileSync(
  path,
  `[groups]
lab = ["ada", "bob"]
dev = []
idle = ["eve"]
[[grants]]
to = ["group:lab"]
roles = ["reader", "submitter"]
repositories = ["genome/*"]
max_cores = 8
[[grants]]
to = ["group:dev"]
roles = ["admin"]
repositories = ["**"]
[[grants]]
to = ["group:dev"]
roles = ["reader"]
repositories = ["genome/*"]
[[grants]]
to = ["*"]
roles = ["delegate"]
repositories = ["**"]
`,
);

test('a policy is checked: what it gives, and what of it gives nothing', (t) => {
  const { given, warnings } = checkPolicy(path);
  t.deepEqual(given[0], {
    to: ['group:lab (ada bob)'],
    roles: ['reader', 'submitter'],
    repositories: ['genome/*'],
    bounds: ['8 cores'],
  });
  t.deepEqual(given[1]?.to, ['group:dev (whom tokens put in it)']);
  t.deepEqual(warnings, [
    'no grant is to the group "idle"',
    'the grant of reader in genome/* to group:dev gives nothing that of admin in ** to group:dev does not give',
    'everybody has the role delegate by a grant to "*"',
  ]);
  const bad = join(dir, 'bad.toml');
  writeFileSync(bad, '[[grants]]\nto = ["a"]\nroles = ["delegate"]\nrepositories = ["genome/*"]\n');
  t.throws(() => checkPolicy(bad), { message: /the role delegate for some repositories: it is for all of them/ });
});

test('a policy is explained for one principal and repository', (t) => {
  const explain = (principal: string, repository: string, groups: string[] = []) =>
    explainPolicy(path, { principal, repository, groups });
  const ada = explain('ada', 'genome/align');
  t.deepEqual(ada.may, ['know the repository and read its jobs', 'request jobs', 'call on behalf of others']);
  t.deepEqual(ada.bounds, ['8 cores']);
  t.deepEqual(ada.grants, ['of reader, submitter in genome/* to group:lab', 'of delegate in ** to *']);
  t.deepEqual(explain('ada', 'other').may, ['call on behalf of others']);
  t.true(explain('eve', 'other', ['dev']).may.includes('steer images, outputs and workers'));
  t.deepEqual(explain('eve', 'other', ['dev']).bounds, []);
  // A principal is in no group by its name.
  t.deepEqual(explain('group:lab', 'genome/align').may, ['call on behalf of others']);
});

test('names that nobody can have are warned of, and not explained', (t) => {
  const odd = join(dir, 'odd.toml');
  const grant = (to: string, more = '') =>
    `[[grants]]\nto = [${to}]\nroles = ["reader"]\nrepositories = ["a${more}"]\n`;
  writeFileSync(
    odd,
    `[groups]\nall = ["group:few", "*", "ada lovelace"]\nfew = ["ada"]\n${grant('"group:all", "group:few"')}` +
      grant('"memoir", "token: ci", "token:ci", "anonymous"', '/*'),
  );
  t.deepEqual(checkPolicy(odd).warnings, [
    'nobody can be "memoir", whom the policy names',
    'nobody can be "token: ci", whom the policy names',
    'nobody can be "ada lovelace", whom the policy names',
    '"group:few" in the group "all" is a principal of that name, and nobody else',
    '"*" in the group "all" is a principal of that name, and nobody else',
  ]);
  const table = [
    ['', 'a', /^"" can be no principal/],
    ['ada lovelace', 'a', /^"ada lovelace" can be no principal/],
    ['ada', '', /^"" can be no name of a repository/],
    ['ada', 'a b', /^"a b" can be no name/],
    ['ada', '../a', /^"\.\.\/a" can be no name/],
  ] as const;
  for (const [principal, repository, message] of table) {
    t.throws(() => explainPolicy(odd, { principal, repository, groups: [] }), { message });
  }
});
