import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { startMemoir } from '../../demo/program.js';
import { GenerationStartedSchema, RunNumbersTakenSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { jobUuid } from '../../src/domain/computation.js';
import type { MemoirEvent } from '../../src/domain/events.js';
import { generationStream } from '../../src/domain/streams.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { serverItself } from '../../src/jobs/caller.js';
import { eventOfCall } from '../../src/jobs/event-of-call.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { type Clients, startTestServer, type TestServer } from '../support/server.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

/** Appends to the stream of generations while the server is stopped, and starts it again. */
async function betweenStarts(server: TestServer, ...events: readonly MemoirEvent[]): Promise<void> {
  await server.stop();
  const store = await openStore(sqliteUrl(join(server.config.data_dir, 'events.sqlite')), systemEdge);
  const context = { edge: systemEdge, serverVersion: 'test' };
  const encoded = events.map((event) => eventOfCall(context, serverItself(systemEdge), event));
  await store.append(generationStream, 'any', encoded);
  await store.close();
  await server.restart();
}

const generation = (number: number, id = crypto.randomUUID() as string) =>
  create(GenerationStartedSchema, { generation: number, id, found: { position: 1n, eventId: id } });

/** A token of every kind, and how it is used. */
type Token = {
  readonly name: string;
  readonly field: 'consistency_token' | 'page_token' | 'resume_token';
  readonly get: (clients: Clients) => Promise<string>;
  readonly use: (clients: Clients, token: string) => Promise<unknown>;
};

/** The first message of a subscription behind a resume token; without one, behind the beginning. */
async function firstOf(clients: Clients, token?: string) {
  const start =
    token === undefined ? { case: 'beginning' as const, value: {} } : { case: 'resumeToken' as const, value: token };
  for await (const message of clients.history.subscribeEvents({ start })) return message;
  throw new Error('the subscription ended');
}

const asOf = { moment: { case: 'position' as const, value: 2n } };
const tokens: readonly Token[] = [
  {
    name: 'consistency token',
    field: 'consistency_token',
    get: async (clients) => (await request(clients)).consistencyToken,
    use: (clients, consistencyToken) => clients.jobs.getQueueSize({ consistencyToken }),
  },
  {
    name: 'page of jobs',
    field: 'page_token',
    get: async (clients) => (await clients.jobs.listJobs({ pageSize: 1 })).nextPageToken,
    use: (clients, pageToken) => clients.jobs.listJobs({ pageSize: 1, pageToken }),
  },
  {
    name: 'page of jobs of the past',
    field: 'page_token',
    get: async (clients) => (await clients.jobs.listJobs({ pageSize: 1, asOf })).nextPageToken,
    use: (clients, pageToken) => clients.jobs.listJobs({ pageSize: 1, asOf, pageToken }),
  },
  {
    name: 'page of the queue',
    field: 'page_token',
    get: async (clients) => (await clients.jobs.getQueue({ pageSize: 1 })).nextPageToken,
    use: (clients, pageToken) => clients.jobs.getQueue({ pageSize: 1, pageToken }),
  },
  {
    name: 'page of images',
    field: 'page_token',
    get: async (clients) => (await clients.images.listImages({ pageSize: 1 })).nextPageToken,
    use: (clients, pageToken) => clients.images.listImages({ pageSize: 1, pageToken }),
  },
  {
    name: 'page of exclusions',
    field: 'page_token',
    get: async (clients) => (await clients.exclusions.listExclusions({ pageSize: 1 })).nextPageToken,
    use: (clients, pageToken) => clients.exclusions.listExclusions({ pageSize: 1, pageToken }),
  },
  {
    name: 'resume token',
    field: 'resume_token',
    get: async (clients) => (await firstOf(clients)).resumeToken,
    use: (clients, token) => firstOf(clients, token),
  },
];

test('every kind of token of an earlier generation is refused by name, and those of this one are taken', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = () => server.as('ada');
  for (let i = 0; i < 3; i++) await request(ada());
  for (const hash of ['a', 'b']) {
    await ada().images.registerImage({ repository: 'x', hash: `sha256:${hash.repeat(64)}`, tag: hash });
    const { consistencyToken } = await ada().exclusions.excludeFromReuse({
      target: { case: 'output', value: `sha256:${hash}` },
      reason: 'x',
    });
    await ada().exclusions.listExclusions({ consistencyToken });
  }
  const directory = mkdtempSync(join(tmpdir(), 'memoir-generations-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const resume = join(directory, 'token');

  const first: string[] = [];
  for (const { name, get, use } of tokens) {
    const token = await get(ada());
    t.not(token, '', name);
    await use(ada(), token);
    // As before there were generations.
    t.notRegex(token, /^g\d/, name);
    first.push(token);
  }
  writeFileSync(resume, `${first.at(-1)}\n`);

  await betweenStarts(server, generation(2));
  const second: string[] = [];
  for (const [i, { name, field, get, use }] of tokens.entries()) {
    await refused(t, server, () => use(ada(), first[i] ?? ''), {
      code: 'INVALID_ARGUMENT',
      reason: 'TOKEN_OF_EARLIER_GENERATION',
      field,
      naming: /is of generation 1 of the log, and this is generation 2: /,
    });
    const token = await get(ada());
    t.regex(token, /^g2-[0-9a-f]{8}\./, name);
    await use(ada(), token);
    second.push(token);
  }
  const tail = startMemoir(['tail', '--resume', resume], { env: { MEMOIR_SERVER: server.address() } });
  t.not(await tail.ended(), 0);
  t.regex(tail.errors(), /resume_token .* is of generation 1 of the log/);
  // A token of a generation that began with the same number elsewhere, as after a loss of the loss.
  writeFileSync(resume, `${(second.at(-1) ?? '').replace(/-.{8}/, '-00000000')}\n`);
  const other = await failure(t, () => firstOf(ada(), (second.at(-1) ?? '').replace(/-.{8}/, '-00000000')));
  t.is(other.reason, 'TOKEN_OF_ANOTHER_GENERATION');

  await betweenStarts(server, generation(3));
  for (const [i, { use }] of tokens.entries()) {
    const error = await failure(t, () => use(ada(), second[i] ?? ''));
    t.is(error.reason, 'TOKEN_OF_EARLIER_GENERATION');
  }
});

test('run numbers of jobs that the log lost are not given again, now and as of later', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = () => server.as('ada');
  const { job } = await request(ada());
  const computationDigest = job?.computationDigest ?? '';
  const parameters = { scriptParameters: { never: 'run' } };
  const explained = await ada().jobs.explainReuse({ request: { ...work, ...parameters, findOrCreate: true } });
  const lost = explained.decision?.uuid ?? '';
  const computations = [{ computationDigest, lastRun: 7 }];
  await betweenStarts(server, create(RunNumbersTakenSchema, { computations }), generation(2));
  const next = await request(ada());
  t.is(next.job?.runNumber, 8);
  t.is(uuidOf(next), jobUuid(computationDigest, 8));
  t.is((await request(ada())).job?.runNumber, 9);
  // What nobody took is given.
  t.is(uuidOf(await find(ada(), parameters)), lost);
});

const work = { repository: 'project', script: 'run.sh', scriptVersion: 'main' };
