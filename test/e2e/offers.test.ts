import test from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { collect } from '../contract/events.js';
import { makeProject } from '../support/project.js';
import { failure, refused } from '../support/refused.js';
import { plenty, request, uuidOf } from '../support/runs.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const repositories = { project: project.repository.path };
const server = serverOfFile({ repositories });
test.after.always(() => {
  project.repository.dispose();
});

let n = 0;
/** Requests a job that no other test has. */
const made = async (more: NonNullable<Parameters<typeof request>[1]>, at: TestServer = server) =>
  uuidOf(await request(at.as('ada'), { scriptParameters: { n: n++ }, ...more }));
const seconds = (count: number) => ({ seconds: BigInt(count) });

test.serial('an offer that is none is refused by its value, and nothing is recorded', async (t) => {
  const bob = server.as('bob');
  const words = Array.from({ length: 17 }, (_, i) => `r${i}`);
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`l${i}`, '']));
  for (const [offer, reason, field, naming] of [
    [{ cores: 1_000_001 }, 'OUT_OF_RANGE', 'offer.cores', '1000001'],
    [{ ramMb: 10n ** 18n }, 'OUT_OF_RANGE', 'offer.ram_mb', '1000000000000000000'],
    [{ scratchMb: 2n ** 40n + 1n }, 'OUT_OF_RANGE', 'offer.scratch_mb', '1099511627777'],
    [{ imageRuntimes: words }, 'TOO_MANY', 'offer.image_runtimes', '17'],
    [{ imageRuntimes: ['docker', ''] }, 'BAD_WORD', 'offer.image_runtimes[1]', '""'],
    [{ imageRuntimes: ['pod man'] }, 'BAD_WORD', 'offer.image_runtimes[0]', '"pod man"'],
    [{ sandbox: 'b'.repeat(65) }, 'TOO_LONG', 'offer.sandbox', '65 bytes'],
    [{ platform: 'linux' }, 'BAD_PLATFORM', 'offer.platform', '"linux"'],
    [{ platform: `linux/${'x'.repeat(128)}` }, 'TOO_LONG', 'offer.platform', '134 bytes'],
    [{ labels: many }, 'TOO_MANY', 'offer.labels', '10000'],
    [{ labels: { '-': '' } }, 'BAD_LABEL', 'offer.labels', '"-"'],
  ] as const) {
    await refused(
      t,
      server,
      () =>
        bob.worker.claimJob({
          offer: { ...offer, imageRuntimes: [...(('imageRuntimes' in offer && offer.imageRuntimes) || [])] },
        }),
      {
        code: 'INVALID_ARGUMENT',
        reason,
        field,
        naming,
      },
    );
  }
  await refused(t, server, () => bob.worker.claimJob({ total: { cores: 4_000_000_000 } }), {
    code: 'INVALID_ARGUMENT',
    reason: 'OUT_OF_RANGE',
    field: 'total.cores',
    naming: '4000000000',
  });
  for (const [field, wish] of [
    ['host', { host: 'h'.repeat(257) }],
    ['version', { version: 'v'.repeat(257) }],
  ] as const) {
    const too = { code: 'INVALID_ARGUMENT', reason: 'TOO_LONG', field, naming: '257 bytes' } as const;
    await refused(t, server, () => bob.worker.claimJob(wish), too);
  }
  await refused(t, server, () => made({ requiredLabels: { gpu: 'a'.repeat(257) } }), {
    code: 'INVALID_ARGUMENT',
    reason: 'TOO_LONG',
    field: 'required_labels',
    naming: '257 bytes',
  });
});

test.serial(
  'a job is given by its uuid only to an offer that fits, and every condition that fails is named',
  async (t) => {
    const uuid = await made({
      requiredLabels: { gpu: 'a100' },
      runtimeConstraints: { minCoresPerNode: 64, minRamMbPerNode: 2_000, minScratchMbPerNode: 10 },
    });
    const bob = server.as('bob');
    const unfit = { code: 'FAILED_PRECONDITION', reason: 'OFFER_DOES_NOT_FIT' } as const;
    await refused(t, server, () => bob.worker.claimJob({ uuid }), {
      ...unfit,
      naming: /64 cores \(the offer has none\)/,
    });
    const offer = { cores: 8, ramMb: 1_999n, scratchMb: 10n, labels: { gpu: 'h100' } };
    await refused(t, server, () => bob.worker.claimJob({ uuid, offer }), {
      ...unfit,
      naming: `job ${uuid} asks for 64 cores (the offer has 8), 2000 MiB of RAM (the offer has 1999), the label gpu=a100 (the offer has gpu=h100)`,
    });
    t.is((await bob.worker.claimJob({ offer })).job, undefined);
    const { job } = await bob.worker.claimJob({
      offer: { ...plenty, labels: { gpu: 'a100' } },
      wait: { seconds: 60n },
    });
    t.is(job?.uuid, uuid);
    t.deepEqual(job?.requiredLabels, { gpu: 'a100' });
    const events = await collect(bob.history.readHistory({ uuid }));
    const started = events.map(({ event }) => event?.event).find((event) => event?.case === 'jobStarted')?.value;
    t.like(started, { offer: { cores: 1_000_000, labels: { gpu: 'a100' } } });
    const { jobs } = await bob.jobs.listJobs({
      filters: [
        { attribute: 'required_labels.gpu', operator: '=', operand: { kind: { case: 'stringValue', value: 'a100' } } },
      ],
    });
    t.deepEqual(
      jobs.map((one) => one.uuid),
      [uuid],
    );
  },
);

test.serial('a claim is given the first job that fits, and one that waits is woken by one that fits', async (t) => {
  const big = await made({ priority: 9, runtimeConstraints: { minCoresPerNode: 16 } });
  const labelled = await made({ priority: 8, requiredLabels: { zone: 'b' } });
  const plain = await made({ priority: 7 });
  const bob = server.as('bob');
  t.is((await bob.worker.claimJob({ offer: { cores: 4 } })).job?.uuid, plain);
  t.is((await bob.worker.claimJob({ offer: { labels: { zone: 'b' } } })).job?.uuid, labelled);
  const small = server.as('small').worker.claimJob({ offer: { cores: 4 }, wait: seconds(60) });
  t.is((await bob.worker.claimJob({ offer: { cores: 16 } })).job?.uuid, big);
  const large = server.as('large').worker.claimJob({ offer: { cores: 32 }, wait: seconds(60) });
  const next = await made({ runtimeConstraints: { minCoresPerNode: 17 } });
  t.is((await large).job?.uuid, next);
  const last = await made({ runtimeConstraints: { minCoresPerNode: 4 } });
  const { job, consistencyToken } = await small;
  t.is(job?.uuid, last);
  t.is((await bob.jobs.getJob({ uuid: last, consistencyToken })).job?.state, JobState.RUNNING);
});

test.serial('where log format 4 may not be recorded, all jobs are given to all workers as before', async (t) => {
  const old = await startTestServer({ repositories, settings: { log_format: 3 } });
  t.teardown(() => old.dispose());
  const uuid = await made({ runtimeConstraints: { minCoresPerNode: 64 } }, old);
  const error = await failure(t, () => made({ requiredLabels: { gpu: 'a100' } }, old));
  t.is(error.reason, 'LOG_FORMAT_NOT_ALLOWED');
  const { job } = await old.as('bob').worker.claimJob({ offer: { cores: 1 }, wait: seconds(60) });
  t.is(job?.uuid, uuid);
});
