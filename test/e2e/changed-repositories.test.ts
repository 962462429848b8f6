import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { makeRepository } from '../support/git-repository.js';
import { startTestServer, until } from '../support/memoir.js';

// Repositories that come, go and move while the server runs, by its file of settings.

test.serial('repositories of the settings are read again at SIGHUP and when the file changes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-settings-'));
  const [one, other] = [makeRepository(), makeRepository()];
  t.teardown(() => {
    for (const { dispose } of [one, other]) dispose();
    rmSync(directory, { recursive: true });
  });
  const [first, second] = [one.commit({ file: 'of one' }), other.commit({ file: 'of the other' })];
  const file = join(directory, 'memoir.toml');
  const write = (repositories: Readonly<Record<string, string>>, more = '') => {
    const tables = Object.entries(repositories).map(([name, path]) => `[repositories.${name}]\npath = "${path}"\n`);
    writeFileSync(`${file}.new`, more + tables.join(''));
    renameSync(`${file}.new`, file);
  };
  write({ one: one.path });
  const memoir = await startTestServer(t, ['--config', file]);
  const names = async () => {
    const { out } = await memoir.run(['repos', '--json']);
    return (JSON.parse(out) as { repositories: { name: string }[] }).repositories.map(({ name }) => name);
  };
  const hangUp = () => process.kill(memoir.server().pid, 'SIGHUP');
  const commit = async (name: string) => (await memoir.run(['resolve', name])).out.trim();
  t.deepEqual(await names(), ['demo', 'one']);
  writeFileSync(join(memoir.repository.path, 'run'), '#!/bin/sh\n', { mode: 0o755 });
  memoir.repository.commit({});
  const uuid = await memoir.submit('run');

  // At once, though the file has not settled: another place, and one more.
  write({ one: other.path, more: one.path });
  hangUp();
  await until(async () => (await names()).length === 3, 'it is read');
  t.is(await commit('one'), second);
  t.is(await commit('more'), first);

  // Of what cannot be used nothing counts.
  write({ one: one.path, none: join(directory, 'nowhere') });
  hangUp();
  await until(() => /nowhere.*not a git repository/.test(memoir.server().errors()), 'it is told');
  t.is(await commit('one'), second);

  // Without a signal; what is not about repositories is told to count later.
  write({ more: one.path }, 'job_log_limit = 5\n');
  await until(async () => (await names()).length === 2, 'it is read');
  await until(() => /job_log_limit.*count at the next start/.test(memoir.server().errors()), 'it is told');
  const refused = await memoir.run(['submit', '--repository', 'one', '--script', 'run', '--script-version', 'HEAD']);
  t.not(refused.code, 0);
  t.regex(refused.err, /"one" is not configured/);
  t.is((await memoir.get(uuid)).repository, 'demo');
});
