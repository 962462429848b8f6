import { rmSync } from 'node:fs';
import test from 'ava';
import type { JobLogAppended } from '../../gen/memoir/events/v1/events_pb.js';
import { decodeEvent } from '../../src/eventstore/codec.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { CallError } from '../../src/rpc/call-error.js';
import { type Acknowledged, type Asked, ask, type Load, startLoad } from '../support/load.js';
import { logFaults } from '../support/log-faults.js';
import { makeProject } from '../support/project.js';
import { eventsOf, liveRows, rebuiltRows } from '../support/read-model.js';
import { roundsUntil } from '../support/rounds.js';
import { uuidOf } from '../support/runs.js';
import { same } from '../support/same.js';
import { type Clients, clientsOf, loseReadModel, testConfig } from '../support/server.js';
import { type ServerProcess, startServerProcess } from '../support/server-process.js';

/** MEMOIR_KILLS=50 for the whole of it. */
const kills = Number(process.env.MEMOIR_KILLS ?? 2);

test(`after kill -9 under load every acknowledged write is there and the read model is right, ${kills} times`, async (t) => {
  t.timeout(1_800_000);
  const project = makeProject();
  const config = testConfig({ repositories: { project: project.repository.path } });
  let server: ServerProcess | undefined;
  t.teardown(async () => {
    await server?.kill();
    rmSync(config.data_dir, { recursive: true, force: true });
    project.repository.dispose();
  });
  let writes = 0;
  for (const round of roundsUntil(() => writes > 0, kills, kills, kills + 10)) {
    server = await startServerProcess(config);
    const load = startLoad(server.address, `round-${round}`);
    // From "just started" to some hundred writes later, more often early.
    await load.reached(Math.floor(Math.random() ** 2 * 400));
    await server.kill();
    await load.end();
    writes += load.acknowledged.length;
    t.deepEqual(
      load.wrong.map(({ message }) => message),
      [],
    );
    if (round % 2 === 1) loseReadModel(config);

    server = await startServerProcess(config);
    const ada = clientsOf(server.address, 'ada');
    const before = await eventsOf(config);
    t.deepEqual(logFaults(before), [], `round ${round}`);
    t.deepEqual(missing(load, before), [], `round ${round}`);
    const token = String(before.at(-1)?.position ?? 0);
    await ada.jobs.getQueueSize({ consistencyToken: token });
    same(t, liveRows(config), await rebuiltRows(config), `round ${round}`);
    // Whoever got no answer asks again, and has its one job.
    const answers = await Promise.all(load.asked.map((asked) => answerOf(ada, asked)));
    const again = await Promise.all(load.asked.map((asked) => answerOf(ada, asked)));
    const created = new Set((await eventsOf(config)).filter(({ type }) => type === 'JobRequested').map(submitIdOf));
    for (const [i, { submitId }] of load.asked.entries()) {
      if (created.has(submitId)) t.is(again[i], answers[i], `round ${round}: ${submitId}`);
    }
    same(t, logFaults(await eventsOf(config)), [], `round ${round}`);
    ada.close();
    await server.kill();
  }
  t.log(`${writes} acknowledged writes`);
  t.true(writes > 0);
});

test('SIGTERM under load ends the server in good order, with every acknowledged write', async (t) => {
  const project = makeProject();
  const config = testConfig({ repositories: { project: project.repository.path } });
  let server: ServerProcess | undefined;
  t.teardown(async () => {
    await server?.kill();
    rmSync(config.data_dir, { recursive: true, force: true });
    project.repository.dispose();
  });
  server = await startServerProcess(config);
  const load = startLoad(server.address, 'load');
  await load.reached(100);
  t.is(await server.terminate(), 0);
  await load.end();
  const events = await eventsOf(config);
  t.deepEqual(logFaults(events), []);
  t.deepEqual(missing(load, events), []);
  server = await startServerProcess(config);
  same(t, liveRows(config), await rebuiltRows(config));
});

/** The job that is the answer, or was before it was deleted. */
async function answerOf(clients: Clients, asked: Asked): Promise<string> {
  try {
    return uuidOf(await ask(clients, asked));
  } catch (error) {
    if (error instanceof CallError && error.reason === 'JOB_DELETED') return error.metadata.uuid as string;
    throw error;
  }
}

const submitIdOf = (event: RecordedEvent) => (JSON.parse(event.data) as { submitId: string }).submitId;

/** Events that a job has at most once. Who repeats the call is answered as the first time, with a position that is later. */
const once = new Set(['JobCancelled', 'JobDeleted']);

/** Whether an event is the join that was acknowledged: it may be told by a later position, where the job changed while it was joined. */
function isJoin(event: RecordedEvent, { stream, type, submitId }: NonNullable<Acknowledged['or']>): boolean {
  return event.stream === stream && event.type === type && submitIdOf(event) === submitId;
}

/** What the server acknowledged and the log does not hold. */
function missing(load: Load, events: readonly RecordedEvent[]): string[] {
  const at = new Map(events.map((event) => [event.position, event]));
  const only = new Map(
    events.filter(({ type }) => once.has(type)).map((event) => [`${event.type} ${event.stream}`, event]),
  );
  const found: string[] = [];
  for (const { position, stream, type, or } of load.acknowledged) {
    const event = once.has(type) ? only.get(`${type} ${stream}`) : at.get(position);
    const isIt = event?.stream === stream && event.type === type && event.position <= position;
    if (!isIt && !(or && events.some((one) => one.position <= position && isJoin(one, or)))) {
      found.push(`${type} of ${stream} at ${position}`);
    }
  }
  for (const [uuid, bytes] of load.logged) {
    const pieces = events.filter(({ stream }) => stream === `joblog-${uuid}`);
    const there = pieces.reduce((sum, e) => sum + Buffer.byteLength((decodeEvent(e) as JobLogAppended).text), 0);
    if (there < bytes) found.push(`${bytes - there} bytes of the log of ${uuid}`);
  }
  for (const [uuid, count] of load.heartbeats) {
    const there = events.filter(({ stream, type }) => stream === `job-${uuid}` && type === 'JobProgressed').length;
    if (there < count) found.push(`${count - there} heartbeats of ${uuid}`);
  }
  return found;
}
