import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { ServerConfig } from '../../src/config.js';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import { LogRefused } from '../../src/eventstore/port.js';
import { type RunningServer, startServer } from '../../src/main.js';
import type { Accepted } from '../../src/serving/opening.js';
import { type Double, startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { rawCall } from '../support/raw-call.js';
import { failure } from '../support/refused.js';
import { rounds } from '../support/rounds.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { type Clients, clientsOf, type LogLine, testConfig } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';

// A KurrentDB that goes back in time: it was restored from a backup, replaced by an empty one, or went on from a backup.

const project = makeProject();
test.after.always(() => project.repository.dispose());
const silent = pino({ level: 'silent' });

type Scene = {
  readonly double: Double;
  readonly config: ServerConfig;
  /** Number of records at the time of the backup. */
  readonly backup: number;
  start(accepted?: Accepted, settings?: Partial<ServerConfig>): Promise<{ server: RunningServer; ada: Clients }>;
};

/** A server that knows more of a log than its backup has: two jobs are in it, three are not, one of them complete. */
async function scene(t: ExecutionContext): Promise<Scene & { readonly server: RunningServer; readonly ada: Clients }> {
  const double = await startDouble();
  const config = testConfig({ repositories: { project: project.repository.path }, settings: { store: double.url } });
  const running: RunningServer[] = [];
  t.teardown(async () => {
    for (const server of running) await server.stop();
    await double.stop();
    rmSync(config.data_dir, { recursive: true, force: true });
  });
  async function start(accepted: Accepted = {}, settings: Partial<ServerConfig> = {}) {
    const server = await startServer({ ...config, ...settings }, systemEdge, silent, accepted);
    running.push(server);
    await server.ready();
    const ada = clientsOf(server.address, 'ada');
    t.teardown(() => ada.close());
    return { server, ada };
  }
  const { server, ada } = await start();
  for (let n = 0; n < 2; n++) await request(ada, { scriptParameters: { n } });
  const backup = double.log.records.length;
  const uuid = uuidOf(await request(ada, { scriptParameters: { n: 2 } }));
  await complete(ada, uuid);
  for (let n = 3; n < 5; n++) await request(ada, { scriptParameters: { n } });
  const { consistencyToken } = await request(ada, { scriptParameters: { n: 4 } });
  // Both files come as far as the log.
  await ada.jobs.listJobs({ asOf: { moment: { case: 'position', value: BigInt(consistencyToken) } } });
  return { double, config, backup, start, server, ada };
}

/** Other events than those that were lost, beyond where they ended. */
function grow({ log }: Double, bytes: number): void {
  for (let n = 0; n < 4; n++) {
    const data = Buffer.from(JSON.stringify({ text: 'x'.repeat(bytes) }));
    const metadata = Buffer.from('{"principal":"eve","requestId":"r","serverVersion":"9"}');
    const event = { id: crypto.randomUUID(), type: 'JobLogAppended', contentType: 'application/json', data, metadata };
    log.append(`joblog-${n}`, 'any', [event]);
  }
}

const ways: readonly {
  readonly name: string;
  readonly kind: 'shorter' | 'other';
  /** When it is looked at by MEMOIR_ROUNDS alone, since each look costs seconds. */
  readonly seldom?: 'start' | 'running';
  readonly message: RegExp;
  readonly happen: (scene: Pick<Scene, 'double' | 'backup'>) => void;
}[] = [
  {
    name: 'restored from a backup',
    kind: 'shorter',
    seldom: 'running',
    message: /lost its end: it ends at position \d+, and .* knows it up to position \d+ \(event [0-9a-f-]{36}\)/,
    happen: ({ double, backup }) => double.log.restore(backup),
  },
  {
    name: 'replaced by an empty one',
    kind: 'shorter',
    seldom: 'start',
    message: /lost its end: it has no event, and .* knows it up to position \d+/,
    happen: ({ double }) => double.log.restore(0),
  },
  {
    name: 'restored, and grown past the old end',
    kind: 'other',
    seldom: 'running',
    message: /is another: it ends at position \d+, and .* knows it up to position \d+/,
    happen({ double, backup }) {
      double.log.restore(backup);
      grow(double, 4_000);
    },
  },
];

async function health(address: string): Promise<number | undefined> {
  return (await rawCall(address, '/grpc.health.v1.Health/Check', Buffer.alloc(0))).at(-1);
}

const whole = rounds(2, ways.length) === ways.length;

for (const { name, kind, seldom, message, happen } of ways) {
  const accepted = kind === 'other' ? { otherLog: true } : { shorterLog: true };

  const atStart = whole || seldom !== 'start' ? test.serial : undefined;
  atStart?.(`a store that was ${name} is refused at the start, and gone on with in a new generation`, async (t) => {
    const at = await scene(t);
    const late = (await request(at.ada)).consistencyToken;
    await at.server.stop();
    happen(at);
    const records = at.double.log.records.length;
    const error = await t.throwsAsync(at.start(), { instanceOf: LogRefused });
    t.is(error?.reason, kind === 'other' ? 'OTHER_LOG' : 'SHORTER_LOG');
    t.regex(error?.message ?? '', message);
    t.regex(error?.message ?? '', new RegExp(`--accept-${kind}-log`));
    if (kind === 'other') t.regex(error?.message ?? '', /they are the same up to position [1-9]\d*, and differ/);
    // Every server must know what is recorded then.
    const format = await t.throwsAsync(at.start(accepted), { instanceOf: MemoirError });
    t.is(format?.reason, 'LOG_FORMAT_NOT_ALLOWED');
    t.is(at.double.log.records.length, records, 'something was recorded');

    const { server, ada } = await at.start(accepted, { log_format: 2 });
    const listed = (await ada.jobs.listJobs({})).jobs.length;
    t.is(listed, name.includes('empty') ? 0 : 2);
    // No run number that was known is given again.
    t.is((await request(ada, { scriptParameters: { n: 4 } })).job?.runNumber, 3);
    t.is((await find(ada, { scriptParameters: { n: 2 } })).job?.runNumber, 2);
    const stale = await failure(t, () => ada.jobs.getQueueSize({ consistencyToken: late }));
    t.is(stale.reason, 'TOKEN_OF_EARLIER_GENERATION');
    const aside = readdirSync(at.config.data_dir).filter((one) => one.startsWith('aside-'));
    t.is(aside.length, 1);
    t.true(readdirSync(join(at.config.data_dir, aside[0] ?? '')).includes('read-model.sqlite'));
    await server.stop();
    // What was accepted once is the log from then on.
    const again = await at.start({}, { log_format: 2 });
    t.is((await again.ada.jobs.listJobs({})).jobs.length, listed + 2);
    const generations = at.double.log.records.filter(({ type }) => type === 'GenerationStarted');
    t.is(generations.length, 1);
  });

  const running = whole || seldom !== 'running' ? test.serial : undefined;
  running?.(
    `a store that is ${name} under a running server is not followed, and nothing is written to it`,
    async (t) => {
      const at = await scene(t);
      t.is(await health(at.server.address), 1);
      happen(at);
      const records = at.double.log.records.length;
      at.double.dropConnections();
      await until('the server is not serving', async () => (await health(at.server.address)) === 2);
      const reason = kind === 'other' ? 'OTHER_LOG' : 'SHORTER_LOG';
      for (const call of [
        () => find(at.ada, { scriptParameters: { n: 2 } }),
        () => request(at.ada, { scriptParameters: { n: 9 } }),
        () => at.ada.jobs.listJobs({}),
        () => at.ada.worker.claimJob({}),
        () => at.ada.audit.getCheckpoint({}),
      ]) {
        const error = await until('a call is refused by name', async () => {
          const one = await failure(t, call);
          return one.reason === reason ? one : undefined;
        });
        t.regex(error.message, message);
      }
      const ours = at.double.log.records.slice(records).filter(({ stream }) => !stream.startsWith('$'));
      t.deepEqual(ours, []);
    },
  );
}

test.serial('the other servers find that a log was accepted, and record the runs that they alone knew', async (t) => {
  const at = await scene(t);
  const config = testConfig({
    repositories: { project: project.repository.path },
    settings: { store: at.double.url, log_format: 2 },
  });
  t.teardown(() => rmSync(config.data_dir, { recursive: true, force: true }));
  const second = await startServer(config, systemEdge, silent);
  await second.ready();
  // What the first one does not come to know.
  await at.server.stop();
  const ada = clientsOf(second.address, 'ada');
  const { consistencyToken } = await request(ada, { scriptParameters: { n: 7 } });
  await ada.jobs.listJobs({ asOf: { moment: { case: 'position', value: BigInt(consistencyToken) } } });
  ada.close();
  await second.stop();
  at.double.log.restore(at.backup);
  const first = await at.start({ shorterLog: true }, { log_format: 2 });
  const lines: LogLine[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) });
  const found = await startServer(config, systemEdge, logger);
  t.teardown(() => found.stop());
  await found.ready();
  t.true(lines.some(({ msg }) => /went on with a log that is not what was known of it/.test(msg)));
  t.is(at.double.log.records.filter(({ type }) => type === 'GenerationStarted').length, 1);
  const runs = await until('the first server knows them', async () => {
    const { job } = await request(first.ada, { scriptParameters: { n: 7 } });
    return job?.runNumber;
  });
  t.is(runs, 2);
});

test.serial('streams that were deleted and scavenged at the place of a server are no other log', async (t) => {
  const at = await scene(t);
  const own = async (n: number) => {
    const uuid = uuidOf(await request(at.ada, { scriptParameters: { n } }));
    const position = at.double.log.stream(`job-${uuid}`).at(-1)?.position ?? 0;
    await at.ada.jobs.listJobs({ asOf: { moment: { case: 'position', value: BigInt(position) } } });
    return `job-${uuid}`;
  };
  // While it runs, what it wrote last.
  const first = await own(8);
  at.double.log.softDelete(first);
  at.double.log.scavenge(first);
  at.double.dropConnections();
  const second = await until('the server goes on', () => own(9).catch(() => undefined));
  await at.server.stop();
  at.double.log.tombstone(second);
  at.double.log.scavenge(second);
  const { ada } = await at.start();
  t.is((await request(ada, { scriptParameters: { n: 10 } })).reused, false);
  const aside = readdirSync(at.config.data_dir).filter((one) => one.startsWith('aside-'));
  t.deepEqual(aside, []);
});

test.serial('live logs that expired while a server was away are no other log', async (t) => {
  const at = await scene(t);
  const uuid = uuidOf(await request(at.ada, { scriptParameters: { n: 8 } }));
  await at.ada.worker.claimJob({ uuid });
  for (let n = 0; n < 3; n++) await at.ada.worker.appendJobLog([{ uuid, text: `${n}\n` }]);
  const position = at.double.log.stream(`joblog-${uuid}`).at(-1)?.position ?? 0;
  await at.ada.jobs.listJobs({ asOf: { moment: { case: 'position', value: BigInt(position) } } });
  await at.server.stop();
  // The store keeps the last event of a stream; the server knows the ones before alone.
  const event = { id: crypto.randomUUID(), type: 'JobLogAppended', contentType: 'application/json' };
  const metadata = Buffer.from('{"principal":"ada","requestId":"r","serverVersion":"9"}');
  at.double.log.append(`joblog-${uuid}`, 'any', [
    { ...event, metadata, data: Buffer.from('{"offset":"6","text":"x"}') },
  ]);
  at.double.log.truncate(`joblog-${uuid}`, 3);
  const { ada } = await at.start();
  t.is((await ada.jobs.getJob({ uuid })).job?.uuid, uuid);
  t.deepEqual(
    readdirSync(at.config.data_dir).filter((one) => one.startsWith('aside-')),
    [],
  );
});
