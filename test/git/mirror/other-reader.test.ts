import fs, { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import git from 'isomorphic-git';
import { openRepositories } from '../../../src/git/repositories.js';
import { serveGit } from '../../support/git-http-server.js';
import { makeRepository } from '../../support/git-repository.js';
import { test } from '../../support/serial.js';

test('what is fetched is read by isomorphic-git as by git: packs and indexes of Memoir are anybody’s', async (t) => {
  const origin = makeRepository();
  for (let n = 0; n < 30; n++)
    origin.commit({ [`d/${n % 4}`]: `${n}\n`.repeat(n * 20), big: 'line\n'.repeat(2_000 + n) });
  origin.git('tag', '--annotate', '--message=all of it', 'v1');
  origin.git('gc', '--quiet');
  const server = await serveGit(origin.path);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-mirror-'));
  const remotes = { allowedHosts: ['127.0.0.1'], allowHttp: true, allowPrivateAddresses: true };
  const repositories = await openRepositories({ r: { url: server.url } }, { directory, remotes });
  t.teardown(async () => {
    await repositories.close();
    await server.close();
    rmSync(directory, { recursive: true });
    origin.dispose();
  });
  const commit = await repositories.resolve('r', 'main');
  const place = readdirSync(directory).find((name) => name.startsWith('r-')) ?? '';
  const of = { fs, gitdir: join(directory, place, 'fetched.git'), cache: {} };
  const log = await git.log({ ...of, ref: commit });
  t.deepEqual(
    log.map(({ oid }) => oid),
    origin.git('rev-list', 'main').split('\n'),
  );
  for (const path of ['big', 'd/3']) {
    const { blob } = await git.readBlob({ ...of, oid: commit, filepath: path });
    t.is(Buffer.from(blob).toString().trimEnd(), origin.git('show', `main:${path}`).trimEnd());
  }
  const tag = await git.readTag({ ...of, oid: origin.git('rev-parse', 'v1') });
  t.is(tag.tag.object, commit);
});
