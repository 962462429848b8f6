import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { durationMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type RunTime, SavingsDimension } from '../../gen/memoir/jobs/v1/savings_pb.js';
import { hundredths, runTimeText, savingsTable } from '../../src/cli/text/savings-text.js';
import { costText } from '../../src/domain/savings/prices.js';
import { runMemoir } from '../support/command.js';
import { makeProject } from '../support/project.js';
import { liveRows, rebuiltRows } from '../support/read-model.js';
import { refused } from '../support/refused.js';
import { complete, fail, find, plenty, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const dir = mkdtempSync(join(tmpdir(), 'memoir-savings-'));
const policy = join(dir, 'policy.toml');
const grant = (to: string, role: string, repository: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${repository}"]\n`;
writeFileSync(
  policy,
  [
    grant('ada', 'submitter', 'project'),
    grant('bob', 'submitter', 'project'),
    grant('eve', 'submitter', 'elsewhere'),
    grant('worker', 'worker', '**'),
    grant('root', 'admin', '**'),
  ].join('\n'),
);
const path = project.repository.path;
const server = serverOfFile({
  repositories: { project: path, elsewhere: path },
  settings: {
    policy,
    prices: { currency: 'EUR', label: 'machine', per_hour: { large: '3600000' } },
  },
});
const [ada, bob, eve, worker, root] = ['ada', 'bob', 'eve', 'worker', 'root'].map(server.as) as [
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
  ReturnType<typeof server.as>,
];
const { OWNER, REPOSITORY, SCRIPT, DAY } = SavingsDimension;

test.after.always(() => {
  project.repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

/** How long the attempts of a job ran, in milliseconds. */
async function ran(uuid: string): Promise<number> {
  const { job } = await root.jobs.getJob({ uuid });
  const times = (job?.attempts ?? []).map(({ startedAt, endedAt }) =>
    startedAt && endedAt ? timestampMs(endedAt) - timestampMs(startedAt) : 0,
  );
  return times.reduce((a, b) => a + b, 0);
}

const ms = (time: RunTime | undefined) => (time?.time ? durationMs(time.time) : undefined);

const seen = { before: 0, uuid: '', failed: '' };

test('an answer and a join save what the run took, each for whom it was an answer', async (t) => {
  const scriptParameters = { n: 1 };
  const uuid = uuidOf(await request(ada, { scriptParameters }));
  await root.jobs.getJob({ uuid });
  // Bob joins while it is not finished: nothing is saved yet.
  t.is(uuidOf(await find(bob, { scriptParameters })), uuid);
  t.like((await root.jobs.getSavings({})).total, { joins: 0n, answers: 0n });
  const { job } = await worker.worker.claimJob({ uuid, offer: { ...plenty, labels: { machine: 'large' } } });
  t.is(job?.uuid, uuid);
  seen.before = await server.end();
  const { consistencyToken } = await worker.worker.completeJob({ uuid, output: 'sha256:out', log: 'sha256:log' });
  await ada.jobs.getJob({ uuid, consistencyToken });
  t.is(uuidOf(await find(ada, { scriptParameters })), uuid);
  t.is(uuidOf(await find(bob, { scriptParameters })), uuid);
  const failed = uuidOf(await request(bob, { scriptParameters: { n: 2 } }));
  await fail(worker, failed);
  Object.assign(seen, { uuid, failed });

  const took = await ran(uuid);
  const { rows, total, currency } = await root.jobs.getSavings({ by: [OWNER, REPOSITORY, SCRIPT] });
  t.is(currency, 'EUR');
  t.deepEqual(rows.map(({ owner, repository, script }) => [owner, repository, script]).sort(), [
    ['ada', 'project', 'run.sh'],
    ['bob', 'project', 'run.sh'],
  ]);
  const row = (owner: string) => rows.find((one) => one.owner === owner);
  t.like(row('ada'), { answers: 1n, joins: 0n });
  t.like(row('bob'), { answers: 1n, joins: 1n });
  t.deepEqual([ms(row('ada')?.saved), ms(row('bob')?.saved), ms(total?.saved)], [took, 2 * took, 3 * took]);
  t.deepEqual([ms(row('ada')?.spent), ms(row('bob')?.spent)], [took, await ran(failed)]);
  t.deepEqual([ms(row('ada')?.spentWithoutResult), ms(row('bob')?.spentWithoutResult)], [0, await ran(failed)]);
  // A millisecond costs one.
  t.is(row('bob')?.saved?.cost, costText(BigInt(2 * took) * 3_600_000n * 10n ** 9n));
  t.is(row('bob')?.saved?.cost, String(2 * took));
  t.deepEqual(
    row('bob')?.spent && ms({ ...row('bob')?.spent, time: row('bob')?.spent?.unpriced } as RunTime),
    await ran(failed),
  );
  if ((await ran(failed)) > 0) t.is(row('bob')?.spent?.cost, undefined, 'what has no price is not what costs nothing');
  t.deepEqual(liveRows(server.config), await rebuiltRows(server.config));
});

test('a moment of the past has what was known then, and deleting a job changes nothing', async (t) => {
  const { total, position } = await root.jobs.getSavings({
    asOf: { moment: { case: 'position', value: BigInt(seen.before) } },
  });
  t.is(position, BigInt(seen.before));
  t.like(total, { answers: 0n, joins: 0n });
  t.deepEqual([ms(total?.saved), ms(total?.spent)], [0, 0]);
  const now = await root.jobs.getSavings({ by: [DAY] });
  const moment = { case: 'time' as const, value: timestampFromMs(Date.now()) };
  t.deepEqual((await root.jobs.getSavings({ by: [DAY], asOf: { moment } })).rows, now.rows);
  const { consistencyToken } = await root.jobs.deleteJob({ uuid: seen.uuid });
  t.deepEqual((await root.jobs.getSavings({ by: [DAY], consistencyToken })).rows, now.rows);
  t.is(now.rows[0]?.day, new Date().toISOString().slice(0, 10));
  const day = 86_400_000;
  const none = await root.jobs.getSavings({ until: timestampFromMs(Date.now() - 2 * day) });
  t.like(none.total, { answers: 0n });
  t.is(none.total?.spent?.cost, '0');
  const all = await root.jobs.getSavings({ since: timestampFromMs(Date.now() - 2 * day) });
  t.deepEqual(all.total, now.total);
});

test('a second run is spent by who asked for it, and saves nothing', async (t) => {
  const uuid = uuidOf(await request(ada, { scriptParameters: { n: 3 } }));
  await complete(worker, uuid);
  const before = await root.jobs.getSavings({ script: 'run.sh' });
  const { checks } = await ada.jobs.checkJob({ uuid });
  const check = checks[0]?.uuid ?? '';
  await complete(worker, check);
  const { total } = await root.jobs.getSavings({ script: 'run.sh' });
  t.is(ms(total?.spentOnChecks), await ran(check));
  t.is(ms(total?.spent), (ms(before.total?.spent) ?? 0) + (await ran(check)));
  t.is(ms(total?.saved), ms(before.total?.saved));
});

test('a reader is told of what it may read alone, and of whom others answered were not at all', async (t) => {
  const hidden = await eve.jobs.getSavings({ by: [OWNER, REPOSITORY] });
  t.deepEqual(hidden.rows, []);
  t.like(hidden.total, { answers: 0n });
  const told = await ada.jobs.getSavings({ by: [OWNER] });
  t.deepEqual(told.rows.map(({ owner, others, answers, joins }) => [owner, others, answers, joins]).sort(), [
    ['', true, 1n, 1n],
    ['ada', false, 1n, 0n],
    // What bob requested, its readers know.
    ['bob', false, 0n, 0n],
  ]);
  const own = await ada.jobs.getSavings({ owner: 'bob' });
  t.true(own.answersLeftOut);
  t.false((await ada.jobs.getSavings({ owner: 'ada' })).answersLeftOut, 'of oneself everything is told');
  t.like(own.total, { answers: 0n, joins: 0n });
  t.false((await root.jobs.getSavings({ owner: 'bob' })).answersLeftOut);
  t.like((await root.jobs.getSavings({ owner: 'bob' })).total, { answers: 1n, joins: 1n });
  const unknown = {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_REPOSITORY',
    field: 'repository',
    naming: 'project',
  } as const;
  await refused(t, server, () => eve.jobs.getSavings({ repository: 'project' }), unknown);
});

test('pages are of one moment, and what is wrong is named', async (t) => {
  const first = await root.jobs.getSavings({ by: [OWNER], pageSize: 1 });
  t.is(first.rows.length, 1);
  await find(bob, { scriptParameters: { n: 3 } });
  const { nextPageToken: pageToken } = first;
  const second = await root.jobs.getSavings({ by: [OWNER], pageSize: 1, pageToken });
  t.is(second.position, first.position);
  t.deepEqual(second.total, first.total);
  t.is(second.nextPageToken, '');
  t.not(second.rows[0]?.owner, first.rows[0]?.owner);
  const badly = (asked: Parameters<typeof root.jobs.getSavings>[0], reason: string, field: string, naming: string) =>
    refused(t, server, () => root.jobs.getSavings(asked), { code: 'INVALID_ARGUMENT', reason, field, naming });
  await badly({ by: [OWNER, OWNER] }, 'TWICE', 'by[1]', 'OWNER');
  await badly({ by: [9 as SavingsDimension] }, 'UNKNOWN_VALUE', 'by[0]', '9');
  await badly({ by: [DAY], pageToken }, 'TOKEN_OF_ANOTHER_LIST', 'page_token', 'other filters');
  await badly({ pageSize: 1_001 }, 'OUT_OF_RANGE', 'page_size', '1001');
  const [since, until] = [timestampFromMs(86_400_000 * 2), timestampFromMs(86_400_000)];
  await badly({ since, until }, 'OUT_OF_RANGE', 'until', '1970-01-02');
});

test('memoir savings prints a table with the total, or JSON', async (t) => {
  const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'root' };
  const said = await runMemoir(['savings', '--since', '30d', '--by', 'script,owner'], { env });
  t.is(said.code, 0, said.err);
  const lines = said.out.trimEnd().split('\n');
  t.regex(
    lines[0] ?? '',
    /^OWNER +SCRIPT +ANSWERS +JOINED +SAVED +SPENT +WITHOUT RESULT +ON CHECKS +SAVED EUR +SPENT EUR$/,
  );
  t.regex(lines.at(-1) ?? '', /^TOTAL +3 +1 /);
  const json = await runMemoir(['savings', '--by', 'day', '--json'], { env });
  t.is((JSON.parse(json.out) as { rows: unknown[] }).rows.length, 1);
  const bad = await runMemoir(['savings', '--by', 'colour'], { env });
  t.is(bad.code, 2);
  t.regex(bad.err, /owner, repository, script, day/);
});

test('times and costs are shown short', (t) => {
  t.deepEqual([0, 850, 59_999, 60_000, 3_599_999, 3_600_000, 360_000_000].map(runTimeText), [
    '0',
    '0.85 s',
    '59.999 s',
    '1 min 0 s',
    '59 min 59 s',
    '1 h 0 min',
    '100 h 0 min',
  ]);
  t.deepEqual(['0', '1', '1.005', '1.0049', '-2.5', '0.999999999', '123456789012345678901.1'].map(hundredths), [
    '0.00',
    '1.00',
    '1.01',
    '1.00',
    '-2.50',
    '1.00',
    '123456789012345678901.10',
  ]);
  const none = { rows: [], currency: '' } as unknown as Parameters<typeof savingsTable>[0];
  t.regex(savingsTable(none, []), /^ANSWERS/);
});
