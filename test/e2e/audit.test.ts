import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../../src/domain/errors.js';
import { provesConsistency, provesInclusion } from '../../src/domain/log-tree/check-proof.js';
import { openCheckpoint } from '../../src/domain/log-tree/checkpoint.js';
import { growingTree } from '../../src/domain/log-tree/growing-tree.js';
import { leafHash, leafText } from '../../src/domain/log-tree/leaf.js';
import { parseVerifierKey } from '../../src/domain/log-tree/verifier-key.js';
import { checkpointStream, jobStream } from '../../src/domain/streams.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { test } from '../support/serial.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { until } from '../support/until.js';

async function eventsOf({ config }: TestServer): Promise<RecordedEvent[]> {
  const log = openSqliteLog(join(config.data_dir, 'events.sqlite'));
  const events = await collect(log.readAll());
  await log.close();
  return events;
}

function rootOfEvents(events: readonly RecordedEvent[]): Buffer {
  const tree = growingTree();
  for (const event of events) tree.add(leafHash(event));
  return tree.root();
}

async function submit(server: TestServer, n: number, principal = 'alice') {
  const { jobs } = server.as(principal);
  return jobs.createJob({ repository: 'demo', script: 'run.sh', scriptVersion: 'main', scriptParameters: { n } });
}

test('a checkpoint is of the whole log; an event is proved under it, and a later one is proved to go on from it', async (t) => {
  const { repository } = makeProject();
  const server = await startTestServer({ repositories: { demo: repository.path } });
  const { audit } = server.as('auditor');
  try {
    const empty = await audit.getCheckpoint({});
    t.is(empty.treeSize, 0n);
    const key = parseVerifierKey(empty.key);
    t.regex(key.name, /^memoir\/[0-9a-f]{8}$/);
    t.is(openCheckpoint(empty.note, [key]).size, 0);
    const none = await audit.getConsistencyProof({});
    t.like(none, { fromSize: 0n, toSize: 0n, hashes: [] });

    const { consistencyToken } = await submit(server, 1);
    for (let n = 2; n < 30; n++) await submit(server, n);
    const first = await audit.getCheckpoint({ consistencyToken });
    const older = openCheckpoint(first.note, [key]);
    for (let n = 30; n < 60; n++) await submit(server, n);
    const second = await audit.getCheckpoint({});
    const newer = openCheckpoint(second.note, [key]);
    const events = await eventsOf(server);
    t.is(older.size, 29);
    t.is(newer.size, 59);
    t.deepEqual(Buffer.from(older.root), rootOfEvents(events.slice(0, 29)));
    t.deepEqual(Buffer.from(newer.root), rootOfEvents(events));
    t.deepEqual(Buffer.from(second.root), Buffer.from(newer.root));

    const { hashes, toSize } = await audit.getConsistencyProof({ fromSize: 29n });
    t.is(toSize, 59n);
    t.true(provesConsistency(older, newer, hashes));
    for (const [index, event] of events.entries()) {
      const asked = { event: { case: 'position' as const, value: BigInt(event.position) } };
      const proof = await audit.getInclusionProof(asked);
      t.like(proof, { leafIndex: BigInt(index), treeSize: 59n, position: BigInt(event.position) });
      t.deepEqual(Buffer.from(proof.root), Buffer.from(newer.root));
      t.true(provesInclusion(leafHash(event), index, newer, proof.hashes));
      t.true(proof.leafText.startsWith(`["${event.stream}",${event.revision},"${event.id}"`));
      if (index >= 29) continue;
      const { stream, revision } = event;
      const byStream = { event: { case: 'streamEvent' as const, value: { stream, revision } }, treeSize: 29n };
      t.true(provesInclusion(leafHash(event), index, older, (await audit.getInclusionProof(byStream)).hashes));
    }
  } finally {
    await server.dispose();
    repository.dispose();
  }
});

test('what cannot be proved is refused, naming it', async (t) => {
  const { repository } = makeProject();
  const server = await startTestServer({ repositories: { demo: repository.path } });
  const { audit } = server.as('auditor');
  try {
    const { job } = await submit(server, 1);
    const stream = jobStream(job?.uuid ?? '');
    const position = (value: bigint) => ({ event: { case: 'position' as const, value } });
    const ofStream = (name: string, revision = 0) => ({
      event: { case: 'streamEvent' as const, value: { stream: name, revision } },
    });
    const refuses = (call: () => Promise<unknown>, reason: string, naming: string, field?: string) => {
      const code = reason === 'EVENT_NOT_FOUND' ? 'NOT_FOUND' : 'INVALID_ARGUMENT';
      return refused(t, server, call, { code, reason, naming, ...(field && { field }) });
    };
    const proof = audit.getInclusionProof;
    for (const value of [0n, 2n, 2n ** 53n, 2n ** 64n - 1n]) {
      await refuses(() => proof(position(value)), 'EVENT_NOT_FOUND', `at position ${value}`);
    }
    await refuses(() => proof(ofStream(stream, 1)), 'EVENT_NOT_FOUND', `1 of stream "${stream}"`);
    for (const name of ['$all', '$streams', 'other', 'job-\0\u202e']) {
      await refuses(() => proof(ofStream(name)), 'EVENT_NOT_FOUND', `of stream ${quote(name)}`);
    }
    await refuses(() => proof({}), 'REQUIRED', 'event is required', 'event');
    await refuses(() => proof(ofStream('')), 'REQUIRED', 'is required', 'stream_event.stream');
    await refuses(() => proof(ofStream('job-'.repeat(200))), 'TOO_LONG', 'has 800 bytes', 'stream_event.stream');
    await refuses(() => proof({ ...position(1n), treeSize: 2n }), 'OUT_OF_RANGE', 'tree_size 2 ', 'tree_size');
    const huge = 2n ** 64n - 1n;
    const between = audit.getConsistencyProof;
    await refuses(() => between({ toSize: huge }), 'OUT_OF_RANGE', `to_size ${huge}`, 'to_size');
    await refuses(() => between({ fromSize: huge }), 'OUT_OF_RANGE', `from_size ${huge}`, 'from_size');
    await refuses(() => between({ fromSize: 1n, toSize: 2n }), 'OUT_OF_RANGE', 'to_size 2', 'to_size');
    await refuses(() => audit.getCheckpoint({ consistencyToken: '7' }), 'BAD_TOKEN', '"7"', 'consistency_token');
    await submit(server, 2);
    await refuses(() => proof({ ...position(2n), treeSize: 1n }), 'OUT_OF_RANGE', 'is leaf 1', 'tree_size');
  } finally {
    await server.dispose();
    repository.dispose();
  }
});

test('an event is proved to those who may read it; to others it does not exist', async (t) => {
  const { repository } = makeProject();
  const server = await startTestServer({ repositories: { demo: repository.path } });
  const policy = join(server.config.data_dir, 'policy.toml');
  const grant = (to: string, role: string) =>
    `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["demo"]\n`;
  writeFileSync(
    policy,
    grant('alice', 'submitter') + grant('bob', 'reader') + grant('eve', 'reader').replace('demo', 'other'),
  );
  await server.stop();
  (server.config as { policy?: string }).policy = policy;
  await server.restart();
  try {
    await submit(server, 1);
    const asked = { event: { case: 'position' as const, value: 1n } };
    t.is((await server.as('alice').audit.getInclusionProof(asked)).leafIndex, 0n);
    // What a decision was taken from is for its own principal, and proved to others without being told.
    const [own, other] = await Promise.all(
      ['alice', 'bob'].map((principal) => server.as(principal).audit.getInclusionProof(asked)),
    );
    const [event] = await eventsOf(server);
    t.is(own?.leafText, leafText(event as RecordedEvent));
    t.is(other?.leafText, '');
    t.deepEqual(Buffer.from(other?.leafHash ?? []), leafHash(event as RecordedEvent));
    const hidden = await failure(t, () => server.as('eve').audit.getInclusionProof(asked));
    const absent = { event: { case: 'position' as const, value: 9n } };
    const none = await failure(t, () => server.as('eve').audit.getInclusionProof(absent));
    t.is(hidden.reason, 'EVENT_NOT_FOUND');
    t.like(none, { code: hidden.code, reason: hidden.reason, message: hidden.message.replace('1', '9') });
  } finally {
    await server.dispose();
    repository.dispose();
  }
});

test('the key is made once, for its owner alone, and what is no key is refused', async (t) => {
  const { repository } = makeProject();
  const server = await startTestServer({ repositories: { demo: repository.path } });
  const path = join(server.config.data_dir, 'checkpoint.key');
  try {
    t.is(statSync(path).mode & 0o777, 0o600);
    const pem = readFileSync(path, 'utf8');
    const { key } = await server.as('a').audit.getCheckpoint({});
    await server.restart();
    t.is(readFileSync(path, 'utf8'), pem);
    t.is((await server.as('a').audit.getCheckpoint({})).key, key);
    await server.stop();
    const refusals: [content: string | Buffer, message: RegExp][] = [
      ['', /is no Ed25519 private key/],
      [randomBytes(200), /is no Ed25519 private key/],
      [pem.slice(0, 60), /is no Ed25519 private key/],
      ['x'.repeat(20_000), /is no key file/],
    ];
    for (const [content, message] of refusals) {
      writeFileSync(path, content);
      const error = await t.throwsAsync(server.restart());
      t.regex(error?.message ?? '', message);
      t.true(error?.message.includes(path));
    }
    writeFileSync(path, pem);
    chmodSync(path, 0o640);
    await t.throwsAsync(server.restart(), { message: /may be used by others than its owner \(mode 640\)/ });
    chmodSync(path, 0o600);
    const missing = server.config as { checkpoint_key?: string; checkpoint_origin?: string };
    missing.checkpoint_key = join(server.config.data_dir, 'other.key');
    await t.throwsAsync(server.restart(), { message: /other\.key" cannot be read: ENOENT.*openssl genpkey/ });
    missing.checkpoint_key = path;
    missing.checkpoint_origin = 'log.example/memoir';
    await server.restart();
    const named = await server.as('a').audit.getCheckpoint({});
    t.is(openCheckpoint(named.note, [parseVerifierKey(named.key)]).origin, 'log.example/memoir');
    t.not(named.key, key);
  } finally {
    await server.dispose();
    repository.dispose();
  }
});

test('a checkpoint is recorded at intervals', async (t) => {
  const { repository } = makeProject();
  const settings = { checkpoint_interval: 0.05 };
  const server = await startTestServer({ repositories: { demo: repository.path }, settings });
  const { audit } = server.as('auditor');
  try {
    for (const round of [1, 2]) {
      await submit(server, round);
      const size = 2 * round - 1;
      await until('a checkpoint', async () => (await server.end()) > size);
      const events = await eventsOf(server);
      t.is(events.length, size + 1);
      const last = events.at(-1);
      t.like(last, { stream: checkpointStream, revision: round - 1, type: 'CheckpointSigned' });
      const { note, key, treeSize } = JSON.parse(last?.data ?? '');
      t.is(treeSize, String(size));
      t.deepEqual(Buffer.from(openCheckpoint(note, [parseVerifierKey(key)]).root), rootOfEvents(events.slice(0, size)));
      t.like(JSON.parse(last?.metadata ?? ''), { principal: 'memoir' });
    }
    const proof = await audit.getInclusionProof({
      event: { case: 'streamEvent', value: { stream: checkpointStream, revision: 1 } },
    });
    t.is(proof.leafIndex, 3n);
  } finally {
    await server.dispose();
    repository.dispose();
  }
});
