import test from 'ava';
import { pino } from 'pino';
import { accessOf, type Policy } from '../../src/domain/access.js';
import { MemoirError } from '../../src/domain/errors.js';
import { jobStream } from '../../src/domain/streams.js';
import { type EventStore, principalOf, type RecordedEvent } from '../../src/eventstore/port.js';
import { eventFacts } from '../../src/history/event-facts.js';
import { readHistory } from '../../src/history/read-history.js';
import { jobChecker } from '../../src/jobs/checks/check-job.js';
import { checksReader } from '../../src/jobs/checks/get-checks.js';
import { jobComparer } from '../../src/jobs/comparing/compare-jobs.js';
import { watchJob } from '../../src/jobs/reading/watch-job.js';
import { cancelJob } from '../../src/jobs/running/cancel-job.js';
import { jobClaims } from '../../src/jobs/running/claim-job.js';
import { jobLogs } from '../../src/jobs/running/job-log.js';
import { auditService } from '../../src/rpc/audit-service.js';
import { jobsService } from '../../src/rpc/jobs/jobs-service.js';
import { collect } from '../contract/events.js';
import { openExclusionsBench } from '../support/exclusions.js';
import { makeProject } from '../support/project.js';

// How long a call takes tells what was read for it. Counted, not timed: for a hidden job the store is asked as often as for one that
// does not exist, and never for anything of the hidden job.

const policy: Policy = {
  groups: {},
  grants: [{ to: ['eve'], roles: ['submitter', 'worker'], repositories: ['elsewhere'] }],
};

const project = makeProject();
const reads: string[] = [];
const counted = (store: EventStore): EventStore => ({
  ...store,
  // As a store that others write too: nothing is answered from memory.
  exclusive: false,
  readStream(stream, ...rest) {
    reads.push(stream);
    return store.readStream(stream, ...rest);
  },
  readAll(...given) {
    reads.push('all');
    return store.readAll(...given);
  },
  eventAt(position) {
    reads.push(`at ${position}`);
    return store.eventAt(position);
  },
});
const path = project.repository.path;
const bench = await openExclusionsBench({ project: path, elsewhere: path }, counted);
const { context } = bench;
const eve = bench.caller('eve', accessOf(policy, 'eve'));
const noJob = '00000000-0000-4000-8000-000000000000';
const sketch = { repository: 'project', commit: project.repository.git('rev-parse', 'main').trim(), parameters: {} };

test.after.always(async () => {
  await bench.close();
  project.repository.dispose();
});

const cascading = { cascade: true, interest: '', allMine: false, forEveryone: false };

test.serial('of a hidden job nothing is read, and as much is read as for none', async (t) => {
  const hidden = await bench.request(sketch);
  await bench.complete(hidden, 'sha256:hidden');
  const own = await bench.request({ ...sketch, repository: 'elsewhere', owner: 'eve', parameters: { of: 'her own' } });
  await bench.settle();
  await context.history.waitFor(await context.store.end());
  const signal = new AbortController().signal;
  const logs = jobLogs(context);
  const never = () => Promise.reject(new Error('not asked for here'));
  const comparer = { outputs: never, contents: never };
  const checks = {
    checkJob: jobChecker(context),
    getChecks: checksReader(context, { outputs: never }),
    compareJobs: jobComparer(context, comparer),
  };
  const jobs = jobsService(context, never, never, never, checks, logs, pino({ level: 'silent' }));
  const audit = auditService(context, {} as never);
  const call = { caller: eve, access: () => eve.access, claim: () => undefined, signal };
  const hold = { leaseMs: 1_000, tokenDigest: 'd', tokenMade: true, workerName: '' };
  const calls: Record<string, (uuid: string) => Promise<unknown>> = {
    getJob: (uuid) => jobs.getJob({ uuid, consistencyToken: '' } as never, call),
    watchJob: (uuid) => collect(watchJob(context, eve, uuid, signal)),
    tailJobLog: (uuid) => collect(logs.tail(eve, uuid, { attempt: 0, offset: 0 }, false, signal)),
    appendJobLog: (uuid) => logs.append(eve, { uuid, text: 'x', offset: undefined, tokenDigest: undefined }),
    cancelJob: (uuid) => cancelJob(context, eve, uuid, cascading),
    deleteJob: (uuid) => context.streams.execute(eve, uuid, { kind: 'delete', principal: 'eve', now: 0 }),
    retryJob: (uuid) => jobs.retryJob({ uuid } as never, call),
    checkJob: (uuid) => jobs.checkJob({ uuid, runs: 1 } as never, call),
    getChecks: (uuid) => jobs.getChecks({ uuid, consistencyToken: '', checks: [], maxDifferences: 0 } as never, call),
    compareJobs: (a) => jobs.compareJobs({ a, b: noJob, consistencyToken: '', maxDifferences: 0 } as never, call),
    'compareJobs with': (b) =>
      jobs.compareJobs({ a: own.uuid, b, consistencyToken: '', maxDifferences: 0 } as never, call),
    getLineage: (uuid) =>
      jobs.getLineage({ uuid, direction: 0, maxDepth: 0, maxJobs: 0, consistencyToken: '' } as never, call),
    updateJob: (uuid) => context.streams.execute(eve, uuid, { kind: 'update', priority: 1, now: 0 } as never),
    heartbeat: (uuid) => context.streams.execute(eve, uuid, { kind: 'heartbeat', worker: 'eve', now: 0 } as never),
    claimJob: (uuid) => jobClaims(context).claim(eve, uuid, hold),
    readHistory: (uuid) => collect(readHistory(context, () => eve.access, { uuid, after: 0 }, signal)),
    'exclude a job': (uuid) => {
      const order = { target: { case: 'jobUuid', value: uuid }, cascade: true, reason: 'r' } as const;
      return bench.exclusions.exclude(eve, order, 10);
    },
    getInclusionProof: (uuid) => {
      const event = { case: 'streamEvent', value: { stream: jobStream(uuid), revision: 0 } };
      return audit.getInclusionProof({ event, treeSize: 0n } as never, call);
    },
  };
  for (const [name, ask] of Object.entries(calls)) {
    const readFor = async (uuid: string) => {
      reads.length = 0;
      const error = await t.throwsAsync(ask(uuid), { instanceOf: MemoirError }, name);
      return { reads: [...reads], code: error?.code, message: error?.message.replaceAll(uuid, 'it') };
    };
    const [of, ofNone] = [await readFor(hidden.uuid), await readFor(noJob)];
    t.false(of.reads.join().includes(hidden.uuid), `${name} reads ${of.reads.join()}`);
    t.is(of.reads.length, ofNone.reads.length, `${name} reads ${of.reads.join()}, and for none ${ofNone.reads.join()}`);
    t.is(of.code, 'NOT_FOUND', name);
    t.is(of.message, ofNone.message, name);
  }
});

test.serial('a cascade does not read a hidden component, and a history nothing of a hidden repository', async (t) => {
  const hidden = await bench.request({ ...sketch, parameters: { of: 'ada' } });
  const own = await bench.request({ ...sketch, repository: 'elsewhere', owner: 'eve' });
  const theirs = await bench.request({ ...sketch, parameters: { of: 'eve' }, owner: 'eve' });
  const components = { mine: theirs.uuid, theirs: hidden.uuid };
  await context.streams.execute(eve, own.uuid, { kind: 'update', components, now: 0 } as never);
  await bench.settle();
  await context.history.waitFor(await context.store.end());

  reads.length = 0;
  const { cancelled } = await cancelJob(context, eve, own.uuid, cascading);
  t.deepEqual(new Set(cancelled), new Set([own.uuid, theirs.uuid]));
  t.false(reads.includes(jobStream(hidden.uuid)));

  await context.history.waitFor(await context.store.end());
  reads.length = 0;
  const signal = new AbortController().signal;
  const history = await collect(readHistory(context, () => eve.access, { repository: 'project', after: 0 }, signal));
  // What may be read all the same: a job of one's own in a repository that one may no longer know of.
  t.deepEqual(
    history.map(({ stream, type }) => [stream, type]),
    [
      [jobStream(theirs.uuid), 'JobRequested'],
      [jobStream(theirs.uuid), 'JobCancelled'],
    ],
  );
  t.false(reads.join().includes(hidden.uuid));
  t.is(reads.filter((read) => read.startsWith('at ')).length, 2, 'its own two events alone');
});

test.serial('histories of a principal and of a time, and proofs by position, read no hidden event', async (t) => {
  const hidden = await bench.request({ ...sketch, parameters: { of: 'time' } });
  await bench.complete(hidden, 'sha256:time');
  const own = await bench.request({ ...sketch, repository: 'elsewhere', parameters: { of: 'time' } });
  const theirs = await bench.request({ ...sketch, parameters: { of: 'time' }, owner: 'eve' });
  await bench.settle();
  const end = await context.store.end();
  await context.history.waitFor(end);
  const signal = new AbortController().signal;
  const events = await collect(context.store.readAll());
  const visible = (more: (recorded: RecordedEvent) => boolean) =>
    events.filter((recorded) => eventFacts(context.readModel, recorded).readableBy(eve.access) && more(recorded));
  const streamOf = ({ stream }: RecordedEvent) => stream;

  for (const [query, expected] of [
    [{ principal: 'ada' }, visible((recorded) => principalOf(recorded) === 'ada')],
    [{ since: 0 }, visible(() => true)],
  ] as const) {
    reads.length = 0;
    const history = await collect(readHistory(context, () => eve.access, { ...query, after: 0 }, signal));
    t.deepEqual(
      reads.filter((read) => !/^(log-generation|checkpoint)/.test(read)).sort(),
      expected.map(({ position }) => `at ${position}`).sort(),
    );
    t.deepEqual(history.map(streamOf), expected.map(streamOf));
    t.true(history.map(streamOf).includes(jobStream(own.uuid)));
    t.false(history.map(streamOf).includes(jobStream(hidden.uuid)));
  }

  const audit = auditService(context, {} as never);
  const proof = (position: number) =>
    audit.getInclusionProof({ event: { case: 'position', value: BigInt(position) }, treeSize: 0n } as never, {
      caller: eve,
      access: () => eve.access,
      claim: () => undefined,
      signal,
    });
  const positionOf = ({ uuid }: { readonly uuid: string }) => context.readModel.lineage.position(uuid) ?? 0;
  for (const position of [positionOf(hidden), end + 100]) {
    reads.length = 0;
    const error = await t.throwsAsync(proof(position), { instanceOf: MemoirError });
    t.is(error?.code, 'NOT_FOUND');
    t.deepEqual(reads, []);
  }
  for (const one of [own, theirs]) t.is((await proof(positionOf(one))).position, BigInt(positionOf(one)));
});
