import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ContentKind } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { newestFormat } from '../../src/domain/log-format.js';
import { collect } from '../contract/events.js';
import { contentClient, digestOf, directory } from '../support/content.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';

// Servers of one log that keep content each in a directory of its own.

const project = makeProject();
test.after.always(() => project.repository.dispose());

test('what another server has alone is neither lost nor swept, and stored here too by who brings it', async (t) => {
  const double = await startDouble();
  const start = (settings = {}) =>
    startTestServer({
      repositories: { project: project.repository.path },
      settings: { store: double.url, log_format: newestFormat, ...settings },
    });
  const [one, other] = [await start(), await start({ content_unchecked: 'refuse', content: { keep: '1s' } })];
  const third = await start();
  t.teardown(async () => {
    for (const server of [one, other, third]) {
      server.errors.length = 0;
      await server.dispose();
    }
    await double.stop();
  });
  const file = Buffer.from('a file');
  const tree = directory({ files: [{ name: 'f', digest: digestOf(file) }] });
  const log = Buffer.from('a log');

  async function finish(server: TestServer, scriptParameters: { n: number }): Promise<string> {
    const ada = server.as('ada');
    const uuid = uuidOf(await request(ada, { scriptParameters }));
    const claimToken = randomBytes(32);
    await ada.worker.claimJob({ uuid, claimToken });
    const cas = contentClient(server.address(), 'ada');
    const blobs = [file, tree, log];
    await cas.cas.batchUpdateBlobs({ requests: blobs.map((data) => ({ digest: digestOf(data), data })) });
    cas.close();
    const { consistencyToken } = await ada.worker.completeJob({
      uuid,
      claimToken,
      outputDigest: { ...digestOf(tree), kind: ContentKind.TREE },
      logDigest: { ...digestOf(log), kind: ContentKind.BLOB },
    });
    for (const { jobs } of [one, other, third].map((each) => each.as('ada')))
      await jobs.getJob({ uuid, consistencyToken });
    return uuid;
  }
  const stream = `content-${digestOf(tree).hash}`;
  const types = () => double.log.stream(stream).map(({ type }) => type);

  const first = await finish(one, { n: 1 });
  t.is(uuidOf(await find(third.as('ada'), { scriptParameters: { n: 1 } })), first, 'unchecked, it is the answer');
  const refused = await failure(t, () => find(other.as('ada'), { scriptParameters: { n: 1 } }));
  t.like(refused, { reason: 'CONTENT_UNAVAILABLE' });
  // It says who has it, and not that it is lost.
  const { storeId } = await one.as('ada').retention.getUsage({});
  for (const read of [
    () => collect(other.as('ada').content.listOutput({ uuid: first })),
    () => collect(other.as('ada').content.readOutput({ uuid: first, path: 'f' })),
    () => collect(other.as('ada').content.readLog({ uuid: first })),
    () => request(other.as('ada'), { scriptParameters: { it: `sha256:${digestOf(tree).hash}` } }),
  ]) {
    const elsewhere = await failure(t, read);
    t.is(elsewhere.reason, 'HELD_ELSEWHERE');
    t.true(elsewhere.message.includes(storeId), elsewhere.message);
  }
  t.like(await other.as('ada').retention.verifyContent({}), { lost: [] });
  t.like(await other.as('ada').retention.sweepContent({}), { evictedCount: 0n, kept: 0n });
  t.deepEqual(types(), ['ContentStored']);

  await finish(other, { n: 2 });
  t.deepEqual(types(), ['ContentStored', 'ContentStored']);
  t.true((await find(other.as('ada'), { scriptParameters: { n: 1 } })).reused);

  // What this server had itself before it was emptied is lost.
  await one.stop();
  rmSync(join(one.config.data_dir, 'content', 'blobs'), { recursive: true });
  await one.restart();
  await until('it is recorded that it is lost', async () => {
    await find(one.as('ada'), { scriptParameters: { n: 1 } }).catch(() => undefined);
    return types().includes('ContentLost');
  });
});
