import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import type { ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { GenerationStartedSchema, SigningKeysChangedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { MemoirEvent } from '../../src/domain/events.js';
import { bytesOfKey, verifierKey } from '../../src/domain/log-tree/verifier-key.js';
import { generationStream, signingStream } from '../../src/domain/streams.js';
import { encodeEvent } from '../../src/eventstore/codec.js';
import { judged } from '../../src/eventstore/foreign.js';
import { guardLog } from '../../src/eventstore/format-guard.js';
import {
  type EventLog,
  type EventStore,
  type ExpectedRevision,
  LogRefused,
  type NewEvent,
  type RecordedEvent,
} from '../../src/eventstore/port.js';
import { type EventSigner, signedStore, verifiedLog } from '../../src/eventstore/signing/signed-log.js';
import { signingState, type Trust } from '../../src/eventstore/signing/signing-state.js';
import { splitSignature, statementOf, withSignature } from '../../src/eventstore/signing/statement.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { collect, newEvent } from '../contract/events.js';
import { test } from '../support/serial.js';

function newSigner(): EventSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    key: verifierKey('memoir/test', bytesOfKey(publicKey)).text,
    sign: (statement) => sign(null, statement, privateKey),
  };
}

/** One log, the store of whoever may write into it past Memoir, and servers that sign. */
async function openLog(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-signing-'));
  const raw = await openSqliteStore(join(directory, 'events.sqlite'), Date.now);
  t.teardown(async () => {
    await raw.close();
    rmSync(directory, { recursive: true });
  });
  const server = (signer: EventSigner, trusted: readonly string[] = []) =>
    signedStore(raw, { state: signingState(() => trustOf(signer.key, ...trusted)), signer: () => signer });
  return { raw, server };
}

const trustOf = (...trusted: readonly string[]): Trust => ({ trusted, retired: [] });

const metadata = '{"principal":"ada","requestId":"r","serverVersion":"1"}';
const encoded = (event: MemoirEvent): NewEvent => encodeEvent(randomUUID(), event, metadata);
const keysAre = (...signers: readonly EventSigner[]) =>
  encoded(create(SigningKeysChangedSchema, { keys: signers.map(({ key }) => key) }));
const generationIs = (generation: number) =>
  encoded(create(GenerationStartedSchema, { generation, id: randomUUID() as string }));

/** Begins to sign the log with these keys, by the first of them. */
async function begin(store: EventStore, ...signers: readonly EventSigner[]): Promise<void> {
  await store.append(signingStream, 'no_stream', [keysAre(...signers)]);
}

const change = (store: EventStore, ...signers: readonly EventSigner[]) =>
  store.append(signingStream, 0, [keysAre(...signers)]);

const started = () => newEvent({ worker: 'w' }, 'JobStarted');

/** Stream and revision of what every reader of the log passes over, however it comes to it. */
async function passedOver(t: ExecutionContext, log: EventLog, trust: Trust): Promise<string[]> {
  const readers = [
    (verified: EventLog) => collect(verified.readAll()),
    async (verified: EventLog) => (await collect(verified.readAll(undefined, { direction: 'backwards' }))).reverse(),
    async (verified: EventLog) => {
      for await (const { events } of verified.subscribeAll()) return [...events];
      return [];
    },
    async (verified: EventLog) => {
      const found = [];
      for (const { stream, revision } of await collect(log.readAll())) {
        found.push(...(await collect(verified.readStream(stream, revision, { limit: 1 }))));
      }
      return found;
    },
    async (verified: EventLog) => {
      const found = [];
      for (const { position } of await collect(log.readAll())) {
        found.push((await verified.eventAt(position)) as RecordedEvent);
      }
      return found;
    },
    // From in the middle of the log on.
    async (verified: EventLog) => {
      const all = await collect(log.readAll());
      const middle = all[all.length >> 1]?.position;
      const rest = await collect(verified.readAll(middle));
      return [
        ...(await collect(verifiedLog(log, trust).readAll(undefined, { limit: all.length - rest.length }))),
        ...rest,
      ];
    },
  ];
  const found: string[][] = [];
  for (const read of readers) {
    const events = await read(verifiedLog(log, trust));
    found.push(events.filter((event) => judged(event).why !== undefined).map((event) => nameOf(event)));
  }
  for (const one of found) t.deepEqual(one, found[0] as string[]);
  return found[0] as string[];
}

const nameOf = ({ stream, revision }: RecordedEvent) => `${stream} ${revision}`;

test('what a server signed is believed, and nothing that was made of it', async (t) => {
  const { raw, server } = await openLog(t);
  const signer = newSigner();
  const store = server(signer);
  await raw.append('job-old', 'no_stream', [newEvent({}, 'JobStarted')]);
  await begin(store, signer);
  await store.append('job-a', 'no_stream', [started(), started()]);
  await store.append('job-a', 1, [newEvent({ output: 'o', log: 'l' }, 'JobCompleted')]);
  const genuine = (await collect(raw.readStream('job-a', 2)))[0] as RecordedEvent;
  const copy = (more: Partial<NewEvent> = {}): NewEvent => ({ ...newEvent(), ...genuine, ...more });

  const forged: [stream: string, expected: ExpectedRevision, event: NewEvent][] = [
    ['job-x', 'any', started()],
    ['job-x', 'any', copy({ id: randomUUID() })],
    ['job-b', 'no_stream', copy()],
    ['job-c', 1, copy()],
    ['job-a', 2, copy()],
    ['job-d', 1, copy({ id: randomUUID() })],
    ['job-e', 1, copy({ data: genuine.data.replace('"o"', '"p"') })],
    ['job-f', 1, copy({ type: 'JobFailed' })],
    ['job-g', 1, copy({ metadata: genuine.metadata.replace('alice', 'malice') })],
    ['job-h', 1, copy({ metadata: genuine.metadata.replace(/"value":"./, '"value":"_') })],
    ['job-i', 1, copy({ metadata: genuine.metadata.replace(/"by":"[^"]*"/, '"by":"0123456789abcdef"') })],
    ['job-j', 1, copy({ metadata: genuine.metadata.replace('"value"', '"after":-1,"value"') })],
    ['job-k', 1, copy({ metadata: genuine.metadata.replace(/,"signature".*/, '}') })],
    ['job-l', 1, copy({ metadata: genuine.metadata.replace(/\}$/, ',"more":1}') })],
  ];
  for (const [stream, expected, event] of forged) {
    // Where the copies go there is room for them at the revision of the original.
    if (expected === 1) await store.append(stream, 'no_stream', [started(), started()]);
    await raw.append(stream, expected, [event]);
  }
  const at = (expected: ExpectedRevision, i: number) => (typeof expected === 'number' ? expected + 1 : i);
  t.deepEqual(
    await passedOver(t, raw, trustOf(signer.key)),
    forged.map(([stream, expected], i) => `${stream} ${at(expected, i === 1 ? 1 : 0)}`),
  );
  // At the same place of another log of the same server.
  const other = await openLog(t);
  const there = other.server(signer);
  await begin(there, signer);
  await there.append('job-a', 'no_stream', [started(), started()]);
  await other.raw.append('job-a', 1, [copy({ data: '{}' })]);
  t.deepEqual(await passedOver(t, other.raw, trustOf(signer.key)), ['job-a 2']);
});

test('an event of an earlier generation is not believed in a later one', async (t) => {
  const { raw, server } = await openLog(t);
  const signer = newSigner();
  const store = server(signer);
  await begin(store, signer);
  await store.append('job-a', 'no_stream', [started()]);
  const [lost] = await collect(raw.readStream('job-a'));

  const restored = await openLog(t);
  const after = restored.server(signer);
  await begin(after, signer);
  await restored.raw.append(generationStream, 'no_stream', [generationIs(7)]);
  await after.append(generationStream, 0, [generationIs(2)]);
  await after.append('job-b', 'no_stream', [started()]);
  await restored.raw.append('job-a', 'no_stream', [lost as NewEvent]);
  t.deepEqual(await passedOver(t, restored.raw, trustOf(signer.key)), ['log-generation 0', 'job-a 0']);
});

test('what may stand at any revision is believed once', async (t) => {
  const { raw, server } = await openLog(t);
  const signer = newSigner();
  const store = server(signer);
  await begin(store, signer);
  const reused = () => newEvent({ uuid: 'a' }, 'JobReused');
  for (let i = 0; i < 3; i++) await store.append('reuse-a', 'any', [reused()]);
  // Another server, which knows nothing of the stream.
  await server(signer).append('reuse-a', 'any', [reused()]);
  const genuine = await collect(raw.readStream('reuse-a'));
  t.deepEqual(
    genuine.map((event) => splitSignature(event.metadata)?.signature.after),
    [-1, 0, 1, -1],
  );
  for (const event of genuine) {
    const other = randomUUID();
    // The store itself recognises the id of what was just appended.
    await raw.append('reuse-a', 'any', [{ ...reused(), id: other }]);
    await raw.append('reuse-a', (await end(raw, 'reuse-a')) as number, [event]);
    await raw.append('reuse-b', 'any', [event]);
  }
  t.deepEqual(
    (await passedOver(t, raw, trustOf(signer.key))).filter((name) => name.startsWith('reuse-a')),
    Array.from({ length: 8 }, (_, i) => `reuse-a ${i + 4}`),
  );
  t.is((await passedOver(t, raw, trustOf(signer.key))).length, 12);
});

async function end(log: EventLog, stream: string): Promise<number | undefined> {
  return (await collect(log.readStream(stream))).at(-1)?.revision;
}

test('keys come and go by who signs already, and by nobody else', async (t) => {
  const { raw, server } = await openLog(t);
  const [first, second, eve] = [newSigner(), newSigner(), newSigner()];
  const [one, two, evil] = [server(first), server(second), server(eve)];
  await evil.append(signingStream, 'no_stream', [keysAre(eve)]);
  await raw.append(signingStream, 0, [keysAre(first, eve)]);
  await one.append(signingStream, 1, [keysAre(first)]);
  await two.append('job-a', 'no_stream', [started()]);
  await evil.append(signingStream, 2, [keysAre(first, eve)]);
  await one.append(signingStream, 3, [keysAre(first, second)]);
  await two.append('job-b', 'no_stream', [started()]);
  await two.append(signingStream, 4, [keysAre(second)]);
  await one.append('job-c', 'no_stream', [started()]);
  await two.append('job-d', 'no_stream', [started()]);
  await one.append(signingStream, 5, [keysAre(first)]);
  await evil.append('job-e', 'no_stream', [started()]);
  const expected = [
    ...[0, 1].map((revision) => `${signingStream} ${revision}`),
    'job-a 0',
    `${signingStream} 3`,
    'job-c 0',
    `${signingStream} 6`,
    'job-e 0',
  ];
  // Whoever knows the second key alone does not believe the beginning, unless it is told that the first began it.
  t.deepEqual(await passedOver(t, raw, { trusted: [second.key], retired: [first.key] }), expected);
  // Who trusts the first key now, believes that it takes itself up again.
  t.deepEqual(
    await passedOver(t, raw, trustOf(first.key)),
    expected.filter((name) => name !== `${signingStream} 6`),
  );
  // With no key, nothing is known of signatures but that there are some.
  const nobody = await passedOver(t, raw, trustOf());
  t.deepEqual(
    nobody,
    [0, 1, 2, 3, 4, 5, 6].map((revision) => `${signingStream} ${revision}`),
  );
});

test('a reader that knew of no keys learns of them where it meets one that it does not know', async (t) => {
  const { raw, server } = await openLog(t);
  const [first, second] = [newSigner(), newSigner()];
  const one = server(first);
  const reader = verifiedLog(raw, trustOf(first.key));
  await begin(one, first);
  t.deepEqual(await collect(reader.readStream('job-a')), []);
  await change(one, first, second);
  await server(second).append('job-a', 'no_stream', [started()]);
  t.deepEqual(
    (await collect(reader.readStream('job-a'))).map((event) => judged(event).why),
    [undefined],
  );
});

test('a log of which it is hidden that it is signed is refused', async (t) => {
  const { raw, server } = await openLog(t);
  const [first, second] = [newSigner(), newSigner()];
  const store = server(first);
  await begin(store, first);
  await change(store, first, second);
  const without = (from: number): EventLog => ({
    ...raw,
    readStream: (stream, revision, options) =>
      raw.readStream(stream, stream === signingStream ? from : revision, stream === signingStream ? {} : options),
  });
  const refused = async (read: () => Promise<unknown>) => {
    const error = await t.throwsAsync(read, { instanceOf: LogRefused });
    t.is(error?.reason, 'SIGNING_LOST');
  };
  // Truncated in part.
  await refused(() => collect(verifiedLog(without(1), trustOf(first.key)).readAll()));
  // Whole, under who knows better.
  const state = signingState(() => trustOf(first.key));
  state.readFrom(raw);
  await state.load();
  state.readFrom(without(9));
  await refused(() => state.load());
  // Whole, before anybody looked.
  await raw.append(`$$${signingStream}`, 'no_stream', [newEvent({ $tb: 9 }, '$metadata')]);
  await refused(() => collect(verifiedLog(without(9), trustOf(first.key)).readAll()));
});

test('who does not verify is not given a log that is signed', async (t) => {
  const { raw, server } = await openLog(t);
  const signer = newSigner();
  await begin(server(signer), signer);
  const follow = async (log: EventLog) => {
    for await (const _ of log.subscribeAll()) return;
  };
  const error = await t.throwsAsync(follow(guardLog(raw)), { instanceOf: LogRefused });
  t.like(error, { reason: 'SIGNED_LOG' });
  await t.notThrowsAsync(follow(guardLog(raw, { verified: true })));
});

test('a signature is found in any metadata, and no two events have one statement', (t) => {
  const text = fc.string({ unit: 'grapheme' });
  const signature = fc.record({
    by: fc.stringMatching(/^[0-9a-f]{16}$/),
    after: fc.option(fc.integer({ min: -1 }), { nil: undefined }),
    value: fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('base64')),
  });
  fc.assert(
    fc.property(text, signature, signature, (principal, inner, outer) => {
      // Also where the principal has the form of a signature.
      const plain = JSON.stringify({ principal: withSignature(`{${principal}`, inner) });
      const split = splitSignature(withSignature(plain, outer));
      t.deepEqual(split, { metadata: plain, signature: outer });
      t.is(JSON.parse(withSignature(plain, outer)).signature.by, outer.by);
    }),
  );
  const event = fc.record({
    stream: text,
    revision: fc.oneof(fc.nat(2), fc.record({ after: fc.integer({ min: -1, max: 1 }) })),
    id: text,
    type: text,
    metadata: text,
    data: text,
    number: fc.nat(2),
    generation: text,
  });
  const statement = ({ number, generation, ...signed }: ReturnType<typeof event.generate>['value']) =>
    statementOf(signed, { number, id: generation }).toString();
  fc.assert(
    fc.property(event, event, (one, other) => {
      t.is(statement(one) === statement(other), JSON.stringify(one) === JSON.stringify(other));
    }),
  );
});
