import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { released } from './changelog.js';

// The steps of `npm run release` that are not npm's own; each is a script of `npm version`, which runs them in the root.
//   check           before the tests: the tree is clean, untracked files included, and there is something to release
//   renew VERSION    after them: what the next versions are held to, and the changelog; both go into the commit of the release

const [step, version] = process.argv.slice(2);
const changelog = readFileSync('CHANGELOG.md', 'utf8');
const git = (...args) => execFileSync('git', args, { encoding: 'utf8' });

try {
  if (step === 'check') {
    const changes = git('status', '--porcelain');
    if (changes !== '') throw new Error(`commit these first, or take them away:\n${changes}`);
    released(changelog, 'next', '');
  } else if (step === 'renew' && version) {
    writeFileSync('CHANGELOG.md', released(changelog, version, new Date().toISOString().slice(0, 10)));
    execFileSync('buf', ['build', 'proto', '--exclude-source-info', '-o', 'proto/released.binpb'], {
      stdio: 'inherit',
    });
    git('add', 'CHANGELOG.md', 'proto/released.binpb');
  } else throw new Error('node scripts/release.js check, or node scripts/release.js renew VERSION');
} catch (error) {
  console.error(`release: ${error.message}`);
  process.exitCode = 1;
}
