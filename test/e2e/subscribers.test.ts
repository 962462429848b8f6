import { readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:http2';
import { join as joinPath } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { writeHistory } from '../../bench/history.js';
import {
  SubscribeEventsRequestSchema,
  SubscribeEventsResponseSchema,
} from '../../gen/memoir/history/v1/history_service_pb.js';
import { systemEdge } from '../../src/edge.js';
import { eventTypes } from '../../src/eventstore/codec.js';
import { openLog } from '../../src/eventstore/open-store.js';
import { CallError } from '../../src/rpc/call-error.js';
import { collect } from '../contract/events.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { startLoad } from '../support/load.js';
import { makeProject } from '../support/project.js';
import { eventsOf } from '../support/read-model.js';
import { rounds } from '../support/rounds.js';
import { request } from '../support/runs.js';
import { same } from '../support/same.js';
import { clientsOf, startTestServer, testConfig } from '../support/server.js';
import { startServerProcess } from '../support/server-process.js';
import { past, type Subscriber, subscriber } from '../support/subscriber.js';
import '../support/native-client.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());
const repositories = { project: project.repository.path };

/** MEMOIR_SUBSCRIBED_EVENTS=300000 for the whole of it. */
const pastEvents = Number(process.env.MEMOIR_SUBSCRIBED_EVENTS ?? 3_000);

const fromBeginning = { start: { case: 'beginning', value: {} } } as const;
const everything = { ...fromBeginning, eventTypes: [...eventTypes] };

/** MEMOIR_ROUNDS=100 for the whole of it. */
const live = rounds(30, 200);

test.serial(`${live} live subscribers get every event of a busy log in order`, async (t) => {
  const server = await startTestServer({ repositories });
  t.teardown(() => server.dispose());
  const readers = Array.from({ length: live }, () => subscriber(server.as('ada'), { eventTypes: [...eventTypes] }));
  await Promise.all(readers.map((reader) => reader.live()));
  const load = startLoad(server.address(), 'busy');
  await load.reached(200);
  await load.end();
  const expected = (await eventsOf(server.config)).map(({ position }) => position);
  for (const reader of readers) {
    await reader.until(() => reader.positions().length >= expected.length);
    same(t, reader.positions(), expected);
    await reader.end();
  }
  t.deepEqual(load.wrong, []);
});

test.serial('subscribers resume after the server was killed, again and again, without gap or repeat', async (t) => {
  const config = testConfig({ repositories });
  t.teardown(() => rmSync(config.data_dir, { recursive: true, force: true }));
  const found = Array.from({ length: 10 }, () => [] as number[]);
  const tokens = found.map(() => '');
  for (let round = 0; round < 3; round++) {
    const server = await startServerProcess(config);
    const clients = clientsOf(server.address, 'ada');
    const load = startLoad(server.address, `round-${round}`);
    const readers = found.map((_, i) => {
      const start = tokens[i] ? ({ case: 'resumeToken', value: tokens[i] } as const) : fromBeginning.start;
      return subscriber(clients, { start, eventTypes: [...eventTypes] });
    });
    await Promise.all(readers.map((reader) => reader.until(() => reader.events().length > 100)));
    await server.kill();
    for (const [i, reader] of readers.entries()) {
      t.is(((await reader.ended) as CallError).code, 14);
      found[i]?.push(...reader.positions());
      tokens[i] = reader.messages.at(-1)?.resumeToken ?? '';
    }
    await load.end();
    clients.close();
  }
  const server = await startTestServer({ settings: config });
  t.teardown(() => server.dispose());
  const expected = (await eventsOf(config)).map(({ position }) => position);
  for (const [i, before] of found.entries()) {
    const start = { case: 'resumeToken', value: tokens[i] ?? '' } as const;
    const rest = await past(server.as('ada'), { start, eventTypes: [...eventTypes] });
    t.deepEqual([...before, ...rest.map(({ position }) => Number(position))], expected);
  }
});

/** A subscriber from the beginning that reads nothing until it is told to, not even into buffers of its own. */
function stuckReader(t: ExecutionContext, address: string) {
  const session = connect(`http://${address}`).on('error', () => undefined);
  t.teardown(() => session.destroy());
  const path = '/memoir.history.v1.HistoryService/SubscribeEvents';
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(headers).on('error', () => undefined);
  const request = toBinary(SubscribeEventsRequestSchema, create(SubscribeEventsRequestSchema, everything));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  stream.end(Buffer.concat([head, request]));
  return {
    /** Resolves when the server has begun to send. */
    begun: new Promise((resolve) => stream.once('response', resolve)),
    async readUpTo(last: number): Promise<number[]> {
      const positions: number[] = [];
      let rest: Buffer = Buffer.alloc(0);
      for await (const chunk of stream) {
        rest = Buffer.concat([rest, chunk as Buffer]);
        while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
          const end = 5 + rest.readUInt32BE(1);
          const { content, position } = fromBinary(SubscribeEventsResponseSchema, rest.subarray(5, end));
          rest = rest.subarray(end);
          if (content.case === 'event') positions.push(Number(position));
          if (Number(position) === last) return positions;
        }
      }
      return positions;
    },
    end: () => stream.close(),
  };
}

test.serial(`readers that are stuck cost no memory and nobody else's time, with ${pastEvents} events`, async (t) => {
  t.timeout(600_000);
  const config = testConfig({ repositories });
  t.teardown(() => rmSync(config.data_dir, { recursive: true, force: true }));
  await writeHistory(joinPath(config.data_dir, 'events.sqlite'), pastEvents);
  const server = await startServerProcess(config);
  t.teardown(() => server.kill());
  const resident = () =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024;
  const clients = clientsOf(server.address, 'ada');
  t.teardown(() => clients.close());
  // Jobs of the past whose lease runs out meanwhile add some events.
  const upTo = (end: number) => Array.from({ length: end }, (_, i) => i + 1);
  const readAll = async () => {
    const positions = (await past(clients, fromBeginning)).map(({ position }) => Number(position));
    t.true(positions.length >= pastEvents);
    same(t, positions, upTo(positions.length));
  };

  await readAll();
  const before = resident();
  const alone = performance.now();
  await readAll();
  const took = performance.now() - alone;
  const stuck = Array.from({ length: 40 }, () => stuckReader(t, server.address));
  await Promise.all(stuck.map(({ begun }) => begun));
  const beside = performance.now();
  await readAll();
  t.log(`${Math.round(took)} ms alone, ${Math.round(performance.now() - beside)} ms beside 40 that are stuck`);
  t.true(performance.now() - beside < 10 * took + 2_000);
  const grown = resident() - before;
  t.log(`${Math.round(before)} MiB, then ${Math.round(grown)} MiB more`);
  // What 40 readers have not read is hundreds of megabytes.
  t.true(grown < 250, `${grown} MiB`);

  // One of them reads on from where it was, through the past, to what was recorded meanwhile.
  const { consistencyToken } = await request(clients);
  same(t, await stuck[0]?.readUpTo(Number(consistencyToken)), upTo(Number(consistencyToken)));
  for (const reader of stuck) reader.end();
});

test.serial('subscriptions end with UNAVAILABLE when the server shuts down, those that are stuck too', async (t) => {
  const server = await startTestServer({ repositories, settings: { drain_timeout: 2 } });
  t.teardown(() => server.dispose());
  for (let i = 0; i < 300; i++) {
    await request(server.as('ada'), { scriptParameters: { i }, description: 'x'.repeat(4_000) });
  }
  const readers = [subscriber(server.as('ada')), subscriber(server.as('ada'), fromBeginning)];
  stuckReader(t, server.address());
  await Promise.all(readers.map((reader) => reader.live()));
  const stopping = performance.now();
  await server.stop();
  t.true(performance.now() - stopping < 30_000);
  for (const reader of readers) {
    const error = await reader.ended;
    if (!(error instanceof CallError)) return t.fail();
    t.deepEqual([error.code, error.reason], [14, 'SHUTTING_DOWN']);
  }
});

test.serial('on KurrentDB subscriptions go on through what happens to the store', async (t) => {
  const double = await startDouble();
  t.teardown(() => double.stop());
  const server = await startTestServer({ repositories, settings: { store: double.url } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const readers: Subscriber[] = [];
  const join = () => {
    readers.push(subscriber(ada, everything));
    const last = readers[0]?.messages.at(-1)?.resumeToken;
    const start = { case: 'resumeToken', value: last ?? '' } as const;
    if (last) readers.push(subscriber(ada, { start, eventTypes: [...eventTypes] }));
  };
  join();
  await readers[0]?.live();
  const load = startLoad(server.address(), 'replica');
  for (let round = 1; round <= 3; round++) {
    await load.reached(round * 40);
    join();
    double.dropConnections();
    await load.reached(round * 40 + 20);
    if (round === 2) double.silenceSubscriptions();
  }
  double.refuse(true);
  double.dropConnections();
  const waiting = request(ada, { scriptParameters: { after: 1 } });
  double.refuse(false);
  const after = await waiting;
  await load.end();
  const log = await openLog(double.url, systemEdge);
  t.teardown(() => log.close());
  const end = await log.end();
  t.true(end >= Number(after.consistencyToken));
  const expected = (await collect(log.readAll())).map(({ position }) => position);
  for (const [i, reader] of readers.entries()) {
    await reader.until(() => reader.positions().at(-1) === end);
    const got = reader.positions();
    same(t, got, expected.slice(expected.length - got.length), `reader ${i}`);
    if (i === 0 || i % 2 === 1) t.is(got.length, expected.length, `reader ${i} has the whole log`);
    await reader.end();
  }
  // A position of the store is a place to begin at, and what is between two of them is none.
  const middle = expected[Math.floor(expected.length / 2)] ?? 0;
  const rest = await past(ada, { start: { case: 'position', value: BigInt(middle) }, eventTypes: [...eventTypes] });
  t.deepEqual(
    rest.map(({ position }) => Number(position)),
    expected.filter((position) => position > middle),
  );
  const between = past(ada, { start: { case: 'position', value: BigInt(middle + 1) } });
  t.is(((await t.throwsAsync(between)) as CallError).reason, 'NO_SUCH_POSITION');
  // Where the machine is busy the store may be away for long enough to be told of.
  for (const { msg } of server.errors.splice(0)) t.regex(msg, /cannot be kept up to date$/);
});
