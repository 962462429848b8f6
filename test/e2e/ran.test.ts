import { status } from '@grpc/grpc-js';
import test from 'ava';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { complete, find, plenty, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';

const project = makeProject();
// It begins as a server of an earlier version, whose workers could not state what they ran in.
const server = await startTestServer({
  repositories: { project: project.repository.path },
  settings: { log_format: 3 },
});
test.after.always(async () => {
  await server.dispose();
  project.repository.dispose();
});

const hash = (n: number) => `sha256:${String(n).repeat(64)}`;
const locator = `tools/align@${hash(1)}`;
const own = (test: string) => ({ scriptParameters: { test }, runtimeConstraints: { dockerImage: 'tools/align' } });
const rulesOf = ({ decision }: Awaited<ReturnType<typeof find>>) =>
  decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]);

test.serial(
  'results of earlier versions are not trusted to have run in their image, unless the server is told to',
  async (t) => {
    const [ada, bob] = [server.as('ada'), server.as('bob')];
    await ada.images.registerImage({ hash: hash(1), repository: 'tools/align', tag: 'latest' });
    const old = uuidOf(await find(ada, own('old')));
    await bob.worker.claimJob({ uuid: old });
    // What may not be recorded yet is left out.
    await bob.worker.completeJob({ uuid: old, output: 'sha256:o', log: 'sha256:l', ran: { sandbox: 'bubblewrap' } });
    t.is((await ada.jobs.getJob({ uuid: old })).job?.ran, undefined);
    t.is(uuidOf(await find(ada, own('old'))), old, 'as ever, until it may be recorded');

    delete server.config.log_format;
    await server.restart();
    const again = await find(server.as('ada'), own('old'));
    t.not(uuidOf(again), old);
    t.deepEqual(rulesOf(again), ['RAN_ELSEWHERE']);
    const explained = await server.as('ada').jobs.explainReuse({
      request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', ...own('old') },
    });
    t.regex(
      explained.decision?.candidates[0]?.detail ?? '',
      /names the image "tools\/align@sha256:1+", and its run does not state/,
    );

    server.config.reuse.trust_unstated_images = true;
    await server.restart();
    t.is(uuidOf(await find(server.as('ada'), own('old'))), old);
    server.config.reuse.trust_unstated_images = false;
    await server.restart();
  },
);

test.serial('a job that names an image is not complete by a run that does not state it', async (t) => {
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const cases: [stated: object, message: RegExp][] = [
    [{}, /does not state that it ran there/],
    [{ ran: { sandbox: 'bubblewrap' } }, /does not state that it ran there/],
    [{ ran: { image: { locator: 'other@x', manifestDigest: hash(1) } } }, /states "other@x"/],
    [
      { ran: { image: { locator, manifestDigest: hash(2), configId: hash(3) } } },
      /is known by sha256:1+, and the worker states sha256:2+, sha256:3+/,
    ],
  ];
  for (const [i, [stated, message]] of cases.entries()) {
    const retry = { lost: i === 0 ? 1 : 0 };
    const uuid = uuidOf(await request(ada, { ...own(`elsewhere ${i}`), retry }));
    const { claimToken } = await bob.worker.claimJob({ uuid, offer: plenty });
    const report = () => bob.worker.completeJob({ uuid, claimToken, output: 'sha256:o', log: 'sha256:l', ...stated });
    const error = await failure(t, report);
    t.like(error, { code: status.FAILED_PRECONDITION, reason: 'RAN_ELSEWHERE' });
    t.regex(error.message, message);
    const { job } = await ada.jobs.getJob({ uuid, consistencyToken: String(await server.end()) });
    t.is(job?.state, i === 0 ? JobState.QUEUED : JobState.FAILED);
    t.like(job?.attempts[0], { reason: 'RAN_ELSEWHERE', fault: Fault.WORKER, log: 'sha256:l', output: '' });
    t.is(job?.output, '');
    t.is((await failure(t, report)).reason, i === 0 ? 'ATTEMPT_ENDED' : 'WRONG_STATE', 'repeated, it changes nothing');
  }
});

test.serial('what a run was in and what it took is told by job, attempt and lists', async (t) => {
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const uuid = uuidOf(
    await find(ada, { ...own('told'), retry: { failed: 1, minBackoff: { nanos: 1 }, maxBackoff: { nanos: 1 } } }),
  );
  const first = await bob.worker.claimJob({ uuid, offer: plenty });
  const used = { peakRamBytes: 2n ** 40n, cpuTime: { nanos: 500_000_000 }, phases: { ran: { seconds: 7n } } };
  const failed = {
    uuid,
    claimToken: first.claimToken,
    reason: 'OUT_OF_MEMORY',
    ran: { sandbox: 'bubblewrap', ...used },
  };
  await bob.worker.failJob(failed);
  const second = await bob.worker.claimJob({ uuid, offer: plenty });
  const inImage = { stagedBytes: 5n, cpuTime: { seconds: 2n }, peakRamBytes: 9_000_000_000n };
  const ran = {
    runtime: 'podman',
    runtimeVersion: '4.3.1',
    ...inImage,
    image: { locator, manifestDigest: hash(2), listDigest: hash(1), platform: 'linux/arm64' },
  };
  const { consistencyToken } = await bob.worker.completeJob({
    uuid,
    claimToken: second.claimToken,
    output: 'o',
    log: 'l',
    ran,
  });
  for (const told of [
    (await ada.jobs.getJob({ uuid, consistencyToken })).job,
    (await ada.jobs.listJobs({ consistencyToken, filters: [filterFromTriple(['uuid', '=', uuid])] })).jobs[0],
  ]) {
    t.like(told?.ran, { runtime: 'podman', runtimeVersion: '4.3.1', peakRamBytes: 9_000_000_000n, stagedBytes: 5n });
    t.like(told?.ran?.image, { manifestDigest: hash(2), platform: 'linux/arm64' });
  }
  const { job } = await ada.jobs.getJob({ uuid });
  t.like(job?.attempts[0]?.ran, { sandbox: 'bubblewrap', peakRamBytes: 2n ** 40n });
  t.like(job?.attempts[1]?.ran?.image, { manifestDigest: hash(2) });

  const filters: [attribute: string, operator: string, operand: string | number, found: boolean][] = [
    ['ran.image.locator', '=', locator, true],
    ['ran.image.manifest_digest', 'like', `${hash(2).slice(0, 20)}%`, true],
    ['ran.image.platform', '=', 'linux/amd64', false],
    ['ran.peak_ram_bytes', '>', 8_999_999_999, true],
    ['ran.peak_ram_bytes', '=', 9_000_000_000, true],
    ['ran.cpu_time', '<', 2, false],
    ['ran.cpu_time', '<=', 2, true],
    ['ran.staged_bytes', '=', 5, true],
    ['ran.stored_bytes', '=', 0, true],
    ['ran.runtime', '!=', 'podman', false],
  ];
  for (const triple of filters) {
    const [attribute, operator, operand, found] = triple;
    const those = [
      ['uuid', '=', uuid],
      [attribute, operator, operand],
    ].map((one) => filterFromTriple(one as [string, string, string]));
    t.is((await ada.jobs.listJobs({ filters: those })).jobs.length, found ? 1 : 0, `${triple}`);
  }
  t.is(
    (await failure(t, () => ada.jobs.listJobs({ filters: [filterFromTriple(['ran.image', '=', 'x'])] }))).reason,
    'BAD_FILTER_ATTRIBUTE',
  );

  // What its request did not ask for is obeyed for those that do.
  const asks = (more: object) => ({ ...own('told'), runtimeConstraints: { dockerImage: 'tools/align', ...more } });
  t.is(uuidOf(await find(ada, asks({ platform: 'linux/arm64' }))), uuid);
  t.is(uuidOf(await find(ada, asks({ sandbox: 'bubblewrap' }))), uuid);
  const elsewhere = await find(ada, asks({ platform: 'linux/amd64' }));
  t.deepEqual(rulesOf(elsewhere), ['PLATFORM']);
  const offers = (platform: string) => bob.worker.claimJob({ uuid: uuidOf(elsewhere), offer: { ...plenty, platform } });
  t.regex(
    (await failure(t, () => offers('linux/arm64'))).message,
    /asks for the platform linux\/amd64 \(the offer has linux\/arm64\)/,
  );
  t.is((await offers('linux/amd64')).job?.state, JobState.RUNNING);
});

test.serial(
  'a request that asks for a sandbox is given to workers that have one, and answered with what ran in one',
  async (t) => {
    const [ada, bob] = [server.as('ada'), server.as('bob')];
    const bare = { scriptParameters: { test: 'sandbox' } };
    const unkept = uuidOf(await find(ada, bare));
    await complete(bob, unkept);
    const asks = { ...bare, runtimeConstraints: { sandbox: 'bubblewrap' } };
    const made = await find(ada, asks);
    t.deepEqual(rulesOf(made), ['SANDBOX']);
    const uuid = uuidOf(made);
    t.is((await bob.worker.claimJob({ offer: plenty })).job?.uuid === uuid, false);
    t.regex(
      (await failure(t, () => bob.worker.claimJob({ uuid, offer: plenty }))).message,
      /asks for a sandbox by bubblewrap \(the offer has none\)/,
    );
    await bob.worker.claimJob({ uuid, offer: { ...plenty, sandbox: 'bubblewrap' } });
    const { consistencyToken } = await bob.worker.completeJob({
      uuid,
      output: 'sha256:out',
      log: 'l',
      ran: { sandbox: 'bubblewrap' },
    });
    await ada.jobs.getJob({ uuid, consistencyToken });
    t.is(uuidOf(await find(ada, asks)), uuid);
    t.is(uuidOf(await find(ada, bare)), unkept, 'who asks for none takes either');
  },
);

test.serial('what cannot be so is refused by name', async (t) => {
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const uuid = uuidOf(await request(ada, own('refused')));
  await bob.worker.claimJob({ uuid, offer: plenty });
  const cases: [ran: object, reason: string, field: string][] = [
    [{ image: { manifestDigest: hash(1) } }, 'REQUIRED', 'ran.image.locator'],
    [{ image: { locator } }, 'REQUIRED', 'ran.image.manifest_digest'],
    [{ image: { locator, manifestDigest: 'sha256:12' } }, 'BAD_HASH', 'ran.image.manifest_digest'],
    [{ image: { locator, configId: hash(1).toUpperCase() } }, 'BAD_HASH', 'ran.image.config_id'],
    [{ runtime: 'x'.repeat(65) }, 'TOO_LONG', 'ran.runtime'],
    [{ cpuTime: { seconds: -1n } }, 'OUT_OF_RANGE', 'ran.cpu_time'],
    [{ phases: { staged: { nanos: -1 } } }, 'OUT_OF_RANGE', 'ran.phases.staged'],
  ];
  const bad = { code: 'INVALID_ARGUMENT' } as const;
  for (const [ran, reason, field] of cases) {
    await refused(t, server, () => bob.worker.completeJob({ uuid, ran }), { ...bad, reason, field });
    await refused(t, server, () => bob.worker.failJob({ uuid, reason: 'X', ran }), { ...bad, reason, field });
  }
  const requests: [constraints: object, reason: string, field: string][] = [
    [{ platform: 'linux/amd64' }, 'NEEDS_DOCKER_IMAGE', 'runtime_constraints.platform'],
    [{ dockerImage: 'tools/align', platform: 'linux' }, 'BAD_PLATFORM', 'runtime_constraints.platform'],
    [{ sandbox: 'bwrap' }, 'BAD_CONSTRAINT', 'runtime_constraints.sandbox'],
  ];
  for (const [runtimeConstraints, reason, field] of requests) {
    await refused(t, server, () => find(ada, { runtimeConstraints }), { ...bad, reason, field });
  }
});
