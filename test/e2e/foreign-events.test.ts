import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { startMemoir } from '../../demo/program.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { auditForeign, type ForeignFinding } from '../../src/audit/audit-foreign.js';
import type { ServerConfig } from '../../src/config.js';
import { newestFormat } from '../../src/domain/log-format.js';
import { type Edge, systemEdge } from '../../src/edge.js';
import { openImporter, openLog, openLogToExport, sqliteUrl } from '../../src/eventstore/open-store.js';
import { LogRefused } from '../../src/eventstore/port.js';
import type { Trust } from '../../src/eventstore/signing/signing-state.js';
import { importLog } from '../../src/eventstore/transfer/import-log.js';
import { openExport } from '../../src/eventstore/transfer/open-export.js';
import { exportOf } from '../../src/eventstore/transfer/write-export.js';
import { openCheckpointKey } from '../../src/history/checkpoint-key.js';
import { audited } from '../audit/scene.js';
import { type Double, startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';
import { test } from '../support/serial.js';

// What others do to the streams of Memoir in a store that is not Memoir's alone.

const project = makeProject();
test.after.always(() => project.repository.dispose());

const ours = '{"principal":"eve","requestId":"r","serverVersion":"9.9.9"}';

/** Writes into a stream past Memoir. */
function write(double: Double, stream: string, type: string, data: string, metadata = ours): void {
  const event = { id: randomUUID(), type, contentType: 'application/json' };
  double.log.append(stream, 'any', [{ ...event, data: Buffer.from(data), metadata: Buffer.from(metadata) }]);
}

async function onDouble(
  t: ExecutionContext,
  edge: Edge = systemEdge,
  settings: Partial<ServerConfig> = {},
): Promise<{ double: Double; server: TestServer }> {
  const double = await startDouble();
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { store: double.url, ...settings },
    edge,
  });
  t.teardown(async () => {
    server.errors.length = 0;
    await server.dispose();
    await double.stop();
  });
  return { double, server };
}

async function foreignIn({ url }: Pick<Double, 'url'>, trust?: Trust): Promise<ForeignFinding[]> {
  const log = await openLog(url, systemEdge, undefined, false, trust);
  const findings: ForeignFinding[] = [];
  await auditForeign(log, (finding) => void findings.push(finding));
  await log.close();
  return findings;
}

test('what no Memoir wrote, or is malformed, changes no job, but its revision counts, and every reader passes it over', async (t) => {
  const { double, server } = await onDouble(t);
  const ada = server.as('ada');
  const uuid = uuidOf(await find(ada));
  const stream = `job-${uuid}`;
  write(double, stream, 'JobCompleted', '{"output":"sha256:no","log":"sha256:no"}', '');
  write(double, stream, 'JobCompleted', '{"output":17}');
  write(double, stream, 'JobCompleted', 'not JSON');
  write(double, stream, 'JobRequested', '{"uuid":"x"}');
  write(double, stream, 'JobTeleported', '{"to":"mars"}');
  write(double, 'job-', 'JobStarted', '{}', '[]');
  write(double, 'image-x', 'ImageRegistered', '{"image":3}');
  write(double, 'checkpoint-log', 'CheckpointSigned', '{"treeSize":[]}');
  await complete(ada, uuid);
  const { job } = await ada.jobs.getJob({ uuid });
  t.like(job, { state: JobState.COMPLETE, output: 'sha256:out' });
  t.is(double.log.actual(stream), 7);
  t.true((await find(ada)).reused);

  const types: string[] = [];
  for await (const { event } of ada.history.readHistory({ uuid })) types.push(event?.eventType ?? '');
  t.deepEqual(types, ['JobRequested', 'JobTeleported', 'JobStarted', 'JobCompleted', 'JobReused']);

  // Each that the read model comes upon is named once, in the order of the log.
  const named = () =>
    server.warnings.filter(({ msg }) => /no Memoir wrote, or that is malformed, is passed over/.test(msg));
  const lines = await until('all are named', () => (named().length >= 7 ? named() : undefined));
  t.deepEqual(
    lines.map(({ stream, revision }) => `${stream} ${revision}`),
    // The last is of a type that the read model has no use for.
    [...[1, 2, 3, 4].map((revision) => `${stream} ${revision}`), 'job- 0', 'image-x 0', 'checkpoint-log 0'],
  );
  t.is(lines.at(-1)?.passedOver, 7);
  t.true(lines.every(({ id, why }) => typeof id === 'string' && typeof why === 'string'));

  await server.restart();
  t.true((await find(server.as('ada'))).reused);
  t.is(named().length, 7, 'what was named before is not named again');
  const findings = await foreignIn(double);
  t.deepEqual(
    findings.map(({ kind, type }) => [kind, type]),
    [
      ...['JobCompleted', 'JobCompleted', 'JobCompleted', 'JobRequested', 'JobStarted'].map((type) => [
        'foreign',
        type,
      ]),
      ['foreign', 'ImageRegistered'],
      ['foreign', 'CheckpointSigned'],
    ],
  );
});

test('a job whose stream was deleted is damaged: kept out of reuse, its number not given again', async (t) => {
  const { double, server } = await onDouble(t);
  const gone: string[] = [];
  for (const how of ['tombstone', 'softDelete'] as const) {
    const ada = server.as('ada');
    const uuid = uuidOf(await request(ada, { scriptParameters: { how } }));
    await complete(ada, uuid);
    t.false((await ada.jobs.getJob({ uuid })).job?.damaged);
    double.log[how](`job-${uuid}`);
    // What was read of it before stays, and every answer says what it is worth.
    const { job } = await ada.jobs.getJob({ uuid });
    t.like(job, { damaged: true, state: JobState.COMPLETE, output: 'sha256:out' }, how);
    const { jobs } = await ada.jobs.listJobs({ select: { paths: ['state'] } });
    t.deepEqual(
      jobs.filter(({ damaged }) => damaged).map((one) => one.uuid),
      [uuid, ...gone],
      how,
    );
    const watching = await failure(t, () => ada.jobs.watchJob({ uuid })[Symbol.asyncIterator]().next());
    t.is(watching.reason, 'JOB_DAMAGED', how);
    await server.restart();
    const again = await find(server.as('ada'), { scriptParameters: { how } });
    t.false(again.reused, how);
    t.not(uuidOf(again), uuid);
    t.is(again.job?.runNumber, 2, how);
    await t.throwsAsync(
      server.as('ada').jobs.deleteJob({ uuid }),
      { code: status.DATA_LOSS, message: /is damaged/ },
      how,
    );
    gone.push(uuid);
  }
  const damaged = (await foreignIn(double)).map(({ kind, type, stream }) => `${kind} ${type} ${stream}`);
  t.deepEqual(damaged, [
    `damaged JobRequested job-${gone[0]}`,
    `foreign $streamDeleted job-${gone[0]}`,
    `damaged JobRequested job-${gone[1]}`,
  ]);
});

test('complete jobs are reused unread while the server is at the end of the log; within ten seconds their streams are looked at', async (t) => {
  let later = 0;
  const { double, server } = await onDouble(
    t,
    { ...systemEdge, monotonic: () => systemEdge.monotonic() + later },
    { log_end_within: 10 },
  );
  const ada = server.as('ada');
  const scriptParameters = { unread: true };
  const uuid = uuidOf(await find(ada, { scriptParameters }));
  await complete(ada, uuid);
  const last = () =>
    JSON.parse(Buffer.from(double.log.stream(`reuse-${uuid}`).at(-1)?.data ?? []).toString()) as JsonObject;
  const reusedUnread = async () => {
    await until('a reuse is recorded that read nothing', async () => {
      t.true((await find(ada, { scriptParameters })).reused);
      return (last().basis as JsonObject).logEndWithin;
    });
  };
  await reusedUnread();
  t.is((last().basis as JsonObject).logEndWithin, '10s');
  // A change is seen wherever it was made: here by this server itself.
  await ada.jobs.updateJob({ job: { uuid, description: 'changed' }, updateMask: { paths: ['description'] } });
  const answer = await find(ada, { scriptParameters });
  t.is(answer.job?.description, 'changed');
  await reusedUnread();
  double.log.softDelete(`job-${uuid}`);
  later = 6_000;
  t.true((await find(ada, { scriptParameters })).reused);
  later = 10_001;
  const again = await until('the deletion is noticed', async () => {
    const answer = await find(ada, { scriptParameters });
    return answer.reused ? undefined : answer;
  });
  t.is(again.job?.runNumber, 2);
  const { findings } = await audited(await openLog(double.url, systemEdge), { project: project.repository.path });
  t.false(findings.some((finding) => finding.uuid === uuid));
});

test('whoever watches a job is told when its stream is deleted', async (t) => {
  const { double, server } = await onDouble(t);
  const ada = server.as('ada');
  const uuid = uuidOf(await request(ada));
  const watch = ada.jobs.watchJob({ uuid })[Symbol.asyncIterator]();
  await watch.next();
  double.log.tombstone(`job-${uuid}`);
  t.is((await failure(t, () => watch.next())).reason, 'JOB_DAMAGED');
  const listed = await until('the list says it', async () =>
    (await ada.jobs.listJobs({})).jobs.find((job) => job.damaged),
  );
  t.is(listed.uuid, uuid);
  // The log says so itself, to a server that did not see it.
  await server.restart();
  t.true((await server.as('ada').jobs.listJobs({})).jobs[0]?.damaged);
});

test('a job that was never seen whole is damaged, and the run that a new server makes has another number', async (t) => {
  const { double, server } = await onDouble(t);
  const scriptParameters = { cut: true };
  const uuid = uuidOf(await request(server.as('ada'), { scriptParameters }));
  await complete(server.as('ada'), uuid);
  await server.stop();
  double.log.truncate(`job-${uuid}`, 1);
  const other = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { store: double.url },
  });
  try {
    const made = await find(other.as('ada'), { scriptParameters });
    t.is(made.job?.runNumber, 2);
  } finally {
    await other.dispose();
  }
});

test('histories, subscriptions and exports go on past a tombstone', async (t) => {
  const { double, server } = await onDouble(t);
  const ada = server.as('ada');
  const first = uuidOf(await request(ada, { scriptParameters: { n: 1 } }));
  double.log.tombstone('job-never');
  const second = uuidOf(await request(ada, { scriptParameters: { n: 2 } }));
  await ada.jobs.getJob({ uuid: second });
  const streams: string[] = [];
  for await (const { event } of ada.history.readHistory({ since: { seconds: 0n, nanos: 0 } })) {
    streams.push(event?.stream ?? '');
  }
  t.deepEqual(streams, [`job-${first}`, `job-${second}`]);
  const log = await openLogToExport(double.url, systemEdge);
  const lines: string[] = [];
  for await (const chunk of exportOf(log, { store: 'kurrentdb', serverVersion: '1', exportedAt: 'now' })) {
    lines.push(...chunk.toString().trim().split('\n'));
  }
  await log.close();
  t.is(lines.length, 4);
});

/** The log of a server that signs, and the server. */
async function signedOnDouble(t: ExecutionContext) {
  const double = await startDouble();
  t.teardown(() => double.stop());
  const start = async (settings: Partial<ServerConfig>) => {
    const server = await startTestServer({
      repositories: { project: project.repository.path },
      settings: { store: double.url, log_format: newestFormat, ...settings },
    });
    t.teardown(async () => {
      server.errors.length = 0;
      await server.dispose();
    });
    return server;
  };
  return { double, start };
}

async function keyOf(server: TestServer): Promise<string> {
  return (await server.as('ada').audit.getCheckpoint({})).key;
}

test('in a log that is signed nothing is believed that no server signed, by any reader, nor after a move', async (t) => {
  const { double, start } = await signedOnDouble(t);
  // What was recorded before is believed, as it was.
  const before = await start({});
  const old = uuidOf(await request(before.as('ada'), { scriptParameters: { n: 0 } }));
  await complete(before.as('ada'), old);
  await before.stop();
  write(double, `job-${old}`, 'JobDeleted', '{}');

  const server = await start({ sign: true });
  const ada = server.as('ada');
  t.false((await find(ada, { scriptParameters: { n: 0 } })).reused);
  const [done, open] = [
    uuidOf(await request(ada, { scriptParameters: { n: 1 } })),
    uuidOf(await request(ada, { scriptParameters: { n: 2 } })),
  ];
  await complete(ada, done);
  await ada.worker.claimJob({ uuid: open });
  const genuine = double.log.stream(`job-${done}`).at(-1);
  const [data, metadata] = [genuine?.data, genuine?.metadata].map((bytes = new Uint8Array()) =>
    Buffer.from(bytes).toString(),
  ) as [string, string];
  t.is(genuine?.type, 'JobCompleted');
  t.regex(metadata, /"signature":/);
  // Of the same worker, at the same revision: nothing but the job is another.
  write(double, `job-${open}`, 'JobCompleted', data, metadata);
  write(double, `job-${open}`, 'JobCompleted', data);
  write(double, `job-${done}`, 'JobDeleted', '{"deletedAt":"2026-03-01T10:00:00Z"}');
  const image = { repository: 'x', hash: `sha256:${'a'.repeat(64)}`, locator: `sha256:${'a'.repeat(64)}` };
  write(double, 'image-x', 'ImageRegistered', JSON.stringify({ image }));
  write(double, `reuse-${done}`, 'JobReused', '{}');
  write(double, 'log-generation', 'GenerationStarted', '{"generation":9,"id":"x"}');
  const forged = [
    `job-${open} 2`,
    `job-${open} 3`,
    `job-${done} 3`,
    'image-x 0',
    `reuse-${done} 0`,
    'log-generation 0',
  ];

  t.is((await ada.jobs.getJob({ uuid: open })).job?.state, JobState.RUNNING);
  t.deepEqual((await ada.images.listImages({})).images, []);
  t.true((await find(ada, { scriptParameters: { n: 1 } })).reused);
  const { consistencyToken } = await ada.worker.completeJob({ uuid: open, output: 'sha256:right', log: 'sha256:l' });
  t.notRegex(consistencyToken, /^g9/);
  t.like((await ada.jobs.getJob({ uuid: open, consistencyToken })).job, { output: 'sha256:right' });
  const types: string[] = [];
  for await (const { event } of ada.history.readHistory({ uuid: open })) types.push(event?.eventType ?? '');
  t.deepEqual(types, ['JobRequested', 'JobStarted', 'JobCompleted']);
  const named = () => server.warnings.filter(({ msg }) => /is passed over/.test(msg));
  await until('those that the read model comes upon are named', () => named().length >= 5);

  // With the key that the auditor holds, of the store and of a copy of it elsewhere.
  const place = ({ stream, revision }: ForeignFinding) => `${stream} ${revision}`;
  const trust = { trusted: [await keyOf(server)], retired: [] };
  t.deepEqual((await foreignIn(double, trust)).map(place), forged);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-signed-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  await server.stop();
  const moved = sqliteUrl(join(directory, 'events.sqlite'));
  const from = await openLogToExport(double.url, systemEdge);
  const header = { store: 'kurrentdb', serverVersion: '1', exportedAt: 'now' } as const;
  const file = await openExport(exportOf(from, header), { directory, unique: 'x' });
  const importer = await openImporter(moved, systemEdge);
  await importLog(file, importer);
  await importer.close();
  await file.close();
  await from.close();
  const audit = startMemoir(['audit', 'foreign', '--store', moved, '--data-dir', directory, '--json'], {
    env: { MEMOIR_AUDIT_KEY: trust.trusted[0] ?? '' },
  });
  t.is(await audit.ended(), 7, audit.errors());
  const lines = audit.output().trim().split('\n');
  t.deepEqual(
    lines.slice(0, -1).map((line) => place(JSON.parse(line).finding)),
    forged,
  );
});

test('servers of a log that is signed have keys that it names, and others take no part', async (t) => {
  const { double, start } = await signedOnDouble(t);
  const unsigned = await start({});
  const reasonOf = async (settings: Partial<ServerConfig>) => {
    const error = await t.throwsAsync(start(settings), { instanceOf: LogRefused });
    return error?.reason;
  };
  // A server signs before it is needed, so that all can be upgraded.
  const early = await start({ sign: true, log_format: 2 });
  const firstKey = await keyOf(early);
  await request(early.as('ada'), { scriptParameters: { n: 1 } });
  t.true(early.warnings.some(({ msg }) => /log_format must be 3/.test(msg)));
  t.is(double.log.actual('log-signing'), -1);
  await early.stop();

  const first = await start({ sign: true, data_dir: early.config.data_dir });
  t.is(double.log.actual('log-signing'), 0);
  await until('the server that does not sign is stopped', async () => {
    const refusal = await unsigned
      .as('ada')
      .jobs.listJobs({})
      .catch((error: unknown) => error);
    return /signed from position/.test(String(refusal));
  });
  t.is(await reasonOf({}), 'SIGNED_LOG');
  t.is(await reasonOf({ sign: true }), 'SIGNING_KEYS_UNKNOWN');

  // A second server with a key of its own: it trusts the first, and the first takes it up.
  const data_dir = mkdtempSync(join(tmpdir(), 'memoir-e2e-'));
  const secondKey = openCheckpointKey({ path: join(data_dir, 'checkpoint.key'), make: true, origin: 'other' }).key.text;
  const second = { sign: true, data_dir, trusted_keys: [firstKey] };
  t.is(await reasonOf(second), 'SIGNING_KEY_UNKNOWN');
  (first.config as { trusted_keys: string[] }).trusted_keys = [secondKey];
  await first.restart();
  t.is(double.log.actual('log-signing'), 1);
  const other = await start(second);
  const uuid = uuidOf(await request(first.as('ada'), { scriptParameters: { n: 2 } }));
  await complete(other.as('ada'), uuid);
  t.true((await find(first.as('ada'), { scriptParameters: { n: 2 } })).reused);
  t.is(double.log.actual('log-signing'), 1);

  // The key of the second is taken away while it runs.
  Object.assign(first.config, { trusted_keys: [], retired_keys: [secondKey] });
  await first.restart();
  t.is(double.log.actual('log-signing'), 2);
  await until('it is stopped', async () => {
    const refusal = await other
      .as('ada')
      .jobs.listJobs({})
      .catch((error: unknown) => error);
    return /the key of this server is none of these/.test(String(refusal));
  });
  await request(first.as('ada'), { scriptParameters: { n: 3 } });
  t.deepEqual(await foreignIn(double, { trusted: [firstKey], retired: [] }), []);
});
