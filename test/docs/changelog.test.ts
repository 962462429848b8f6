import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';

// What a release does to CHANGELOG.md.

const root = fileURLToPath(new URL('../../../', import.meta.url));
type Changelog = { released(changelog: string, version: string, date: string): string };
const { released } = (await import(`${root}scripts/changelog.js`)) as Changelog;
const date = '2026-01-31';

test('what is unreleased moves under the version, and Unreleased stays, empty', (t) => {
  const before = '# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A.\n\n## [0.1.0] - 2025-12-31\n\n- B.\n';
  const after = `# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - ${date}\n\n### Added\n\n- A.\n\n## [0.1.0] - 2025-12-31\n\n- B.\n`;
  t.is(released(before, '0.2.0', date), after);
  t.throws(() => released(after, '0.3.0', date), { message: /nothing under Unreleased/ });
  t.throws(() => released(before, '0.1.0', date), { message: /version 0\.1\.0 already/ });
  t.throws(() => released('# Changelog\n', '0.1.0', date), { message: /no line/ });
});

test('the changelog of Memoir can be released, or has nothing new', (t) => {
  const changelog = readFileSync(`${root}CHANGELOG.md`, 'utf8');
  t.is(changelog.match(/^## \[Unreleased\]$/gm)?.length, 1);
  try {
    t.true(released(changelog, '999.0.0', date).includes(`\n## [Unreleased]\n\n## [999.0.0] - ${date}\n`));
  } catch (error) {
    t.regex(String(error), /nothing under Unreleased/);
  }
});
