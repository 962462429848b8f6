import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { startMemoir } from '../../demo/program.js';
import { JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { startLoad } from '../support/load.js';
import { makeProject } from '../support/project.js';
import { eventsOf, liveRows, rebuiltRows } from '../support/read-model.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { same } from '../support/same.js';
import { type Clients, startTestServer, type TestServer } from '../support/server.js';
import '../support/native-client.js';

// A log that real servers wrote goes from store to store by the commands that an operator uses.

const project = makeProject();
test.after.always(() => project.repository.dispose());

async function memoir(t: ExecutionContext, ...args: readonly string[]): Promise<Record<string, unknown>> {
  const program = startMemoir([...args, '--json']);
  t.is(await program.ended(), 0, program.errors());
  return JSON.parse(program.output());
}

async function start(t: ExecutionContext, settings: { data_dir?: string; store?: string }): Promise<TestServer> {
  const server = await startTestServer({ repositories: { project: project.repository.path }, settings });
  t.teardown(() => server.dispose());
  return server;
}

/** All jobs that a server knows, and the history of one of them. */
async function told(clients: Clients): Promise<unknown[]> {
  const jobs: unknown[] = [];
  for (let pageToken = ''; ; ) {
    const page = await clients.jobs.listJobs({ orderBy: 'uuid', pageSize: 1_000, pageToken });
    jobs.push(...page.jobs.map((job) => toJson(JobSchema, job)));
    pageToken = page.nextPageToken;
    if (pageToken === '') return jobs;
  }
}

test('a log moves to another machine, to a cluster and back, and the work goes on at each', async (t) => {
  t.timeout(180_000);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-move-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = (name: string) => join(directory, name);

  const first = await start(t, {});
  const load = startLoad(first.address(), 'move');
  await load.reached(150);
  const running = await memoir(t, 'export', '--data-dir', first.config.data_dir, file('running.jsonl'));
  await load.end();
  t.true((running.events as number) >= 150);
  const done = uuidOf(await request(first.as('ada'), { scriptParameters: { step: 'done' } }));
  await complete(first.as('worker'), done);
  const consistencyToken = String(await first.end());
  await first.as('ada').jobs.getQueueSize({ consistencyToken });
  const jobs = await told(first.as('ada'));
  await first.stop();
  const exported = await memoir(t, 'export', '--data-dir', first.config.data_dir, file('log.jsonl.gz'));
  const events = await eventsOf(first.config);
  t.is(exported.events, events.length);

  // The same again, byte for byte, in another data directory; what was exported before is its beginning.
  const second = { data_dir: file('second') };
  await memoir(t, 'import', '--data-dir', second.data_dir, file('running.jsonl'));
  const imported = await memoir(t, 'import', '--data-dir', second.data_dir, file('log.jsonl.gz'));
  t.is(imported.there, running.events);
  t.is(imported.root, exported.root);
  same(t, await eventsOf(second), events);
  const moved = await start(t, second);
  await moved.as('ada').jobs.getQueueSize({ consistencyToken });
  same(t, liveRows(second), liveRows(first.config));
  same(t, liveRows(second), await rebuiltRows(second));
  t.deepEqual(await told(moved.as('ada')), jobs);
  t.is(uuidOf(await find(moved.as('bob'), { scriptParameters: { step: 'done' } })), done);
  t.false((await find(moved.as('bob'), { scriptParameters: { step: 'new' } })).reused);
  await moved.stop();

  // To a cluster, where positions are others, and from there into a file again.
  const double = await startDouble();
  t.teardown(() => double.stop());
  await memoir(t, 'import', '--store', double.url, file('log.jsonl.gz'));
  const third = await start(t, { store: double.url });
  t.deepEqual(await told(third.as('ada')), jobs);
  const again = await find(third.as('bob'), { scriptParameters: { step: 'done' } });
  t.is(uuidOf(again), done);
  t.true(again.reused);
  const next = uuidOf(await find(third.as('bob'), { scriptParameters: { step: 'in the cluster' } }));
  await complete(third.as('worker'), next);
  const after = await told(third.as('ada'));
  const back = await memoir(t, 'export', '--store', double.url, file('cluster.jsonl.gz'));
  t.is(back.store, 'kurrentdb');

  const fourth = { data_dir: file('fourth') };
  t.is((await memoir(t, 'import', '--data-dir', fourth.data_dir, file('cluster.jsonl.gz'))).root, back.root);
  const local = await start(t, fourth);
  t.deepEqual(await told(local.as('ada')), after);
  same(t, liveRows(fourth), await rebuiltRows(fourth));
  t.is(uuidOf(await find(local.as('bob'), { scriptParameters: { step: 'in the cluster' } })), next);
  const bare = (all: Awaited<ReturnType<typeof eventsOf>>) => all.map(({ position: _, ...event }) => event);
  same(t, bare(await eventsOf(fourth)).slice(0, events.length), bare(events));
});
