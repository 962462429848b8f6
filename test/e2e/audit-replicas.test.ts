import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provesInclusion } from '../../src/domain/log-tree/check-proof.js';
import { openCheckpoint } from '../../src/domain/log-tree/checkpoint.js';
import { leafHash, leafText } from '../../src/domain/log-tree/leaf.js';
import { parseVerifierKey } from '../../src/domain/log-tree/verifier-key.js';
import { checkpointStream } from '../../src/domain/streams.js';
import { systemEdge } from '../../src/edge.js';
import { openLog } from '../../src/eventstore/open-store.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { openCheckpointKey } from '../../src/history/checkpoint-key.js';
import { openKeptTree } from '../../src/history/verify/kept-tree.js';
import { storeSource } from '../../src/history/verify/log-source.js';
import { verifyLog } from '../../src/history/verify/verify-log.js';
import { collect } from '../contract/events.js';
import { startDoubleProcess } from '../support/kurrentdb-double/process.js';
import { makeProject } from '../support/project.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';
import { test } from '../support/serial.js';

test('two servers of a KurrentDB store keep one tree, and record one checkpoint between them', async (t) => {
  const { repository } = makeProject();
  const directory = mkdtempSync(join(tmpdir(), 'memoir-audit-'));
  const double = await startDoubleProcess();
  const path = join(directory, 'shared.key');
  openCheckpointKey({ path, make: true, origin: undefined });
  const settings = { store: double.url, checkpoint_key: path, checkpoint_interval: 0.3 };
  const repositories = { demo: repository.path };
  const servers = await Promise.all([1, 2].map(() => startTestServer({ repositories, settings })));
  const log = await openLog(double.url, systemEdge);
  try {
    const [one, two] = servers.map((server) => server.as('alice'));
    if (!one || !two) throw new Error('there are no servers');
    const recorded = () => collect(log.readStream(checkpointStream));
    for (let round = 1; round <= 3; round++) {
      for (let n = 0; n < 20; n++) {
        const job = { repository: 'demo', script: 'run.sh', scriptVersion: 'main', scriptParameters: { round, n } };
        await (n % 2 ? one : two).jobs.createJob(job);
      }
      await until('a checkpoint of all jobs', async () => {
        const [last] = (await recorded()).slice(-1);
        const all = await collect(log.readAll());
        return (
          // What was recorded while it was signed is left to the next one.
          last !== undefined &&
          all.at(-1)?.stream === checkpointStream &&
          Number(JSON.parse(last.data).treeSize) === all.length - 1
        );
      });
    }
    const events = await collect(log.readAll());
    t.is(events.filter(({ type }) => type === 'JobRequested').length, 60);
    // Never two in a row, of which the second would be of nothing but the first.
    const whole = ({ data }: RecordedEvent, before: number) => Number(JSON.parse(data).treeSize) === before;
    const checkpoints = events.flatMap((event, i) => (event.stream === checkpointStream ? [{ event, i }] : []));
    t.false(checkpoints.some(({ event, i }) => whole(event, i) && events[i + 1]?.stream === checkpointStream));

    const [first, second] = [await one.audit.getCheckpoint({}), await two.audit.getCheckpoint({})];
    t.is(first.key, second.key);
    t.is(first.note, second.note);
    const key = parseVerifierKey(first.key);
    const checkpoint = openCheckpoint(first.note, [key]);
    t.is(checkpoint.size, events.length);
    for (const index of [0, 17, events.length - 1]) {
      const event = events[index];
      if (!event) continue;
      const proof = await two.audit.getInclusionProof({
        event: { case: 'position', value: BigInt(event.position) },
        treeSize: first.treeSize,
      });
      t.is(proof.leafIndex, BigInt(index));
      t.is(proof.leafText, leafText(event));
      t.true(provesInclusion(leafHash(event), index, checkpoint, proof.hashes));
    }

    const kept = openKeptTree(join(servers[0]?.config.data_dir ?? '', 'history.sqlite'));
    const held = [{ source: 'held', checkpoint }];
    const found = await verifyLog(storeSource(log), { held, keys: [key], kept });
    kept?.close();
    t.deepEqual(found.damage, []);
    t.like(found, { events: events.length, provenEvents: events.length, kept: 'agrees' });
  } finally {
    await log.close();
    for (const server of servers) await server.dispose();
    await double.stop();
    repository.dispose();
    rmSync(directory, { recursive: true });
  }
});
