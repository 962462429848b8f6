/**
 * The changelog with what stands under Unreleased moved under a version, and nothing under Unreleased. The date is as in 2026-01-31.
 * Throws an Error if there is no such heading, nothing under it, or the version is there already.
 */
export function released(changelog, version, date) {
  const heading = '## [Unreleased]\n';
  const start = changelog.indexOf(`\n${heading}`) + 1;
  if (start === 0) throw new Error('CHANGELOG.md has no line "## [Unreleased]"');
  const rest = changelog.slice(start + heading.length);
  if (`\n${rest}`.includes(`\n## [${version}]`)) throw new Error(`CHANGELOG.md has version ${version} already`);
  const [unreleased = ''] = `\n${rest}`.split('\n## [', 1);
  if (!/^- /m.test(unreleased)) throw new Error('CHANGELOG.md has nothing under Unreleased');
  return `${changelog.slice(0, start)}${heading}\n## [${version}] - ${date}\n${rest}`;
}
