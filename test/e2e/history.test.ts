import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import type { ReadHistoryRequestSchema } from '../../gen/memoir/history/v1/history_service_pb.js';
import { systemEdge } from '../../src/edge.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { eventsOf } from '../support/read-model.js';
import { refused } from '../support/refused.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
import type { Clients } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const dir = mkdtempSync(join(tmpdir(), 'memoir-policy-'));
const policy = join(dir, 'policy.toml');
writeFileSync(
  policy,
  `
[[grants]]
to = ["ada", "runner", "bob", "auditor"]
roles = ["admin"]
repositories = ["project"]

[[grants]]
to = ["bob", "auditor"]
roles = ["submitter"]
repositories = ["other"]

[[grants]]
to = ["auditor"]
roles = ["auditor"]
repositories = ["**"]

[[grants]]
to = ["runner"]
roles = ["admin"]
repositories = ["**"]
`,
);
const { path } = project.repository;
// A clock that goes a minute at a time, and once back, so that spans of time can be told apart.
let now = Date.UTC(2026, 0, 1);
const server = serverOfFile({
  repositories: { project: path, other: path },
  settings: { policy },
  edge: { ...systemEdge, now: () => now },
});
const [ada, bob, runner, auditor, eve] = ['ada', 'bob', 'runner', 'auditor', 'eve'].map(server.as) as [
  Clients,
  Clients,
  Clients,
  Clients,
  Clients,
];

test.after.always(() => {
  project.repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

type Query = MessageInitShape<typeof ReadHistoryRequestSchema>;

const read = async (as: Clients, query: Query) =>
  (await collect(as.history.readHistory(query))).map(({ event }) => Number(event?.position));

type Facts = { readonly repository: string; readonly owner: string; readonly computationDigest: string };

/** What happened, told from the log in the simplest way. */
async function story() {
  const events = await eventsOf(server.config);
  const jobs = new Map<string, Facts>();
  for (const { type, data, stream } of events) {
    if (type === 'JobRequested') jobs.set(stream.slice('job-'.length), JSON.parse(data) as Facts);
  }
  const excludedJob = new Map<string, string>();
  for (const { type, data } of events) {
    const { exclusion } = JSON.parse(data) as { exclusion?: { id: string; jobUuid?: string } };
    if (type === 'ExcludedFromReuse' && exclusion?.jobUuid) excludedJob.set(exclusion.id, exclusion.jobUuid);
  }
  function about({ stream, data }: RecordedEvent) {
    const uuid = /^(?:job|reuse|joblog)-(.*)$/.exec(stream)?.[1];
    if (uuid !== undefined) return { uuid, ...(jobs.get(uuid) as Facts) };
    const { exclusion, exclusionId } = JSON.parse(data) as { exclusion?: { id: string }; exclusionId?: string };
    const target = excludedJob.get(exclusion?.id ?? exclusionId ?? '') ?? '';
    const repository = /^exclusion-(?!@)(.*)$/.exec(stream)?.[1] ?? '';
    return { uuid: target, owner: '', repository, computationDigest: jobs.get(target)?.computationDigest ?? '' };
  }
  function naive(query: Query, mayRead: (of: ReturnType<typeof about>) => boolean): number[] {
    const { uuid, computationDigest, repository, principal, since, until, afterPosition = 0n } = query;
    const section = (time: Query['since']) =>
      events.findIndex(({ recordedAt }) => recordedAt >= Number(time?.seconds) * 1_000 + Number(time?.nanos) / 1e6);
    const from = since ? section(since) : 0;
    const to = until ? section(until) : -1;
    return events
      .slice(from < 0 ? events.length : from, to < 0 ? events.length : to)
      .filter((event) => {
        const of = about(event);
        return (
          event.type !== 'JobLogAppended' &&
          event.position > Number(afterPosition) &&
          (uuid === undefined || of.uuid === uuid) &&
          (computationDigest === undefined || of.computationDigest === computationDigest) &&
          (repository === undefined || of.repository === repository) &&
          (principal === undefined || JSON.parse(event.metadata).principal === principal) &&
          mayRead(of)
        );
      })
      .map(({ position }) => position);
  }
  return { events, jobs, naive };
}

async function live(): Promise<void> {
  const tick = () => {
    now += 60_000;
  };
  const made: string[] = [];
  for (let i = 0; i < 6; i++) {
    const [who, repository] = i % 3 === 0 ? ([bob, 'other'] as const) : ([ada, 'project'] as const);
    const uuid = uuidOf(await request(who, { repository, scriptParameters: { run: i % 2 } }));
    made.push(uuid);
    tick();
    if (i === 4) await fail(runner, uuid);
    else if (i < 4) await complete(runner, uuid, `sha256:${i % 2}`);
    tick();
    if (i === 3) now -= 7 * 60_000;
    await find(who, { repository, scriptParameters: { run: i % 2 } });
    tick();
  }
  await runner.worker.claimJob({ uuid: made[5] as string });
  await runner.worker.heartbeat({ uuid: made[5] as string });
  const reason = 'a test';
  const { exclusion } = await ada.exclusions.excludeFromReuse({
    target: { case: 'jobUuid', value: made[1] as string },
    reason,
  });
  await ada.exclusions.excludeFromReuse({
    target: { case: 'commit', value: { repository: 'project', commit: project.first } },
    reason,
  });
  await runner.exclusions.excludeFromReuse({ target: { case: 'output', value: 'sha256:none' }, reason });
  tick();
  await ada.exclusions.reinstateForReuse({ id: exclusion?.id ?? '', reason });
  await ada.jobs.deleteJob({ uuid: made[4] as string });
}

test.serial('the history of anything is what the log says of it, to whoever may read it', async (t) => {
  await live();
  const { events, jobs, naive } = await story();
  const uuids = [undefined, ...jobs.keys()];
  const computations = [undefined, ...new Set([...jobs.values()].map((job) => job.computationDigest))];
  const times = [undefined, ...events.filter((_, i) => i % 5 === 0).map((event) => timestampFromMs(event.recordedAt))];
  const readers: [Clients, (of: Facts) => boolean][] = [
    [auditor, () => true],
    [ada, ({ repository, owner }) => repository === 'project' || owner === 'ada'],
    [bob, ({ repository, owner }) => repository === 'project' || repository === 'other' || owner === 'bob'],
    [eve, () => false],
  ];
  let queries = 0;
  let found = 0;
  async function check(query: Query): Promise<void> {
    for (const [reader, mayRead] of readers) {
      const expected = naive(query, mayRead);
      const hidden =
        (query.uuid !== undefined && !mayRead(jobs.get(query.uuid) as Facts)) ||
        (query.computationDigest !== undefined &&
          ![...jobs.values()].some((job) => job.computationDigest === query.computationDigest && mayRead(job)));
      if (hidden) {
        await refused(t, server, () => read(reader, query), {
          code: 'NOT_FOUND',
          reason: query.uuid === undefined ? 'COMPUTATION_NOT_FOUND' : 'JOB_NOT_FOUND',
        });
      } else t.deepEqual(await read(reader, query), expected, `${reader.principal} ${JSON.stringify(query, text)}`);
      queries++;
      if (expected.length > 0) found++;
    }
  }
  const given = (query: Record<string, unknown>): Query =>
    Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined)) as Query;
  for (const uuid of uuids) {
    for (const principal of [undefined, 'ada', 'runner', 'nobody']) {
      if (uuid ?? principal) await check(given({ uuid, principal }));
    }
  }
  for (const computationDigest of computations) {
    for (const repository of [undefined, 'project', 'other', 'none']) {
      if (computationDigest ?? repository) await check(given({ computationDigest, repository }));
      for (const principal of ['bob', 'runner']) await check(given({ computationDigest, repository, principal }));
    }
  }
  for (const since of times) {
    for (const until of times) {
      if (since ?? until) await check(given({ since, until }));
      await check(given({ repository: 'project', since, until, afterPosition: 9n }));
    }
  }
  t.log(`${queries} queries, ${found} with an answer`);
  t.true(found > 200);
});

const text = (_key: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);

test.serial('a query that means nothing is refused by the field', async (t) => {
  const wrong: [Query, string, string, string][] = [
    [{}, 'uuid', 'REQUIRED', 'uuid'],
    [{ afterPosition: 4n }, 'uuid', 'REQUIRED', 'uuid'],
    [{ uuid: 'x' }, 'uuid', 'BAD_UUID', '"x"'],
    [{ computationDigest: `${'0'.repeat(63)}G` }, 'computation_digest', 'BAD_DIGEST', '000G"'],
    [{ principal: 'p'.repeat(257) }, 'principal', 'TOO_LONG', 'ppp'],
    [{ repository: 'r'.repeat(256) }, 'repository', 'TOO_LONG', 'rrr'],
    [{ since: { seconds: 1n << 40n } }, 'since', 'OUT_OF_RANGE', '1099511627776'],
    [{ until: { nanos: -1 } }, 'until', 'OUT_OF_RANGE', '-1 nanoseconds'],
    [{ repository: 'project', afterPosition: 1n << 60n }, 'after_position', 'OUT_OF_RANGE', '1152921504606846976'],
  ];
  for (const [query, field, reason, naming] of wrong) {
    await refused(t, server, () => read(ada, query), { code: 'INVALID_ARGUMENT', reason, field, naming });
  }
  t.deepEqual(await read(ada, { principal: "x' OR 1=1 --\u0000" }), []);
});

test.serial('the same is told after the history was lost', async (t) => {
  const before = await read(auditor, { repository: 'project' });
  await server.stop();
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(join(server.config.data_dir, `history.sqlite${suffix}`), { force: true });
  }
  await server.restart();
  t.deepEqual(await read(server.as('auditor'), { repository: 'project' }), before);
});
