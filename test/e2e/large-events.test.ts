import test from 'ava';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { reportCompletion, reportFailure } from '../../src/worker/report.js';
import { RunLost } from '../../src/worker/run-failure.js';
import { collect } from '../contract/events.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import '../support/native-client.js';

// What is larger than a KurrentDB takes in one append.

const project = makeProject();

const onDouble = async (maxAppendSize?: number) => {
  const double = await startDouble(maxAppendSize === undefined ? {} : { maxAppendSize });
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { store: double.url, log_format: 2 },
  });
  return { double, server };
};
/** With the limit of a server that nobody configured, and with one far below. */
const [usual, small] = await Promise.all([onDouble(), onDouble(24_000)]);

test.after.always(async () => {
  for (const { double, server } of [usual, small]) {
    await server.dispose();
    await double.stop();
  }
  project.repository.dispose();
});

test.serial(
  'a request that the store never takes is refused for good, naming the limit and what is too large',
  async (t) => {
    const ada = usual.server.as('ada');
    const scriptParameters = { text: '\u0001'.repeat(500 * 1024) };
    for (const more of [{}, { submitId: 'large' }, { findOrCreate: true }]) {
      const records = usual.double.log.records.filter(({ stream }) => !stream.startsWith('$')).length;
      const error = await failure(t, () => request(ada, { scriptParameters, ...more }));
      t.like(error, { code: 3, reason: 'EVENT_TOO_LARGE', fields: ['script_parameters'] });
      t.is(error.metadata.limit, '1048576');
      t.regex(error.message, /JobRequested .* most of them in script_parameters, .*at most 1048576 at once/);
      t.is(usual.double.log.records.filter(({ stream }) => !stream.startsWith('$')).length, records);
    }
    // As large as it may be it is taken, and its submit_id is free.
    const plain = { text: 'x'.repeat(1_040_000) };
    t.is((await request(ada, { scriptParameters: plain, submitId: 'large' })).job?.runNumber, 1);
  },
);

for (const [name, at, size] of [
  ['1.5 MB of NULs', usual, 1_500_000],
  ['more than a small store takes', small, 50_000],
] as const) {
  test.serial(`a live log of ${name} is cut into what the store takes`, async (t) => {
    const ada = at.server.as('ada');
    const uuid = uuidOf(await request(ada));
    await ada.worker.claimJob({ uuid });
    const text = '\0'.repeat(size / 2);
    const { size: end, truncated } = await ada.worker.appendJobLog([{ uuid, text }, { text }]);
    t.deepEqual([end, truncated], [BigInt(size), false]);
    const pieces = await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }));
    t.is(pieces.map((piece) => piece.text).join(''), text + text);
  });
}

test.serial(
  'a report that the store never takes fails the job with that reason, and the worker does not repeat it',
  async (t) => {
    const ada = small.server.as('ada');
    const large = '\u0001'.repeat(4_096);
    const signal = new AbortController().signal;
    const claimToken = new Uint8Array(16).fill(7);
    for (const how of ['complete', 'fail'] as const) {
      const uuid = uuidOf(await request(ada));
      await ada.worker.claimJob({ uuid, claimToken });
      const held = { uuid, claimToken, log: 'sha256:log', tasksSummary: undefined };
      const fault = { fault: Fault.SCRIPT, givenBack: false };
      const report =
        how === 'complete'
          ? reportCompletion(ada.worker, { ...held, output: large }, signal)
          : reportFailure(ada.worker, { ...held, ...fault, reason: 'SCRIPT_FAILED', message: large }, signal);
      await t.throwsAsync(report, { instanceOf: RunLost, message: /at most 24000 at once/ }, how);
      const { job } = await ada.jobs.getJob({ uuid });
      t.like(job, { state: JobState.FAILED, failureReason: 'EVENT_TOO_LARGE', log: 'sha256:log' }, how);
      t.regex(job?.failureMessage ?? '', how === 'complete' ? /^its completion could not/ : /SCRIPT_FAILED "\\u0001/);
    }
  },
);
