import test from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { standingExclusions } from '../../src/exclusions/standing.js';
import { type UpstreamContext, unfitOutput } from '../../src/exclusions/upstream.js';

const ranges = { learn: () => undefined, has: () => false };

/** A lineage in which job n took the output of job n + 1, and gave `o<n>`, without an end. */
const endless: UpstreamContext = {
  ranges,
  lineage: {
    givers: (output, after) => (after === 0 ? [Number(output.slice(1)) + 1] : []),
    job: (position) => ({
      position,
      uuid: `job-${position - 1}`,
      owner: 'ada',
      repository: 'weather',
      script_version: 'c0ffee',
      docker_image_locator: position === 5_001 ? 'broken' : '',
      state: JobState.COMPLETE,
      nondeterministic: 0,
      deleted: 0,
      output: `o${position - 1}`,
      output_v1: '',
      log: 'log',
      worker: '',
      worker_name: '',
      ran_from: null,
      ran_until: null,
    }),
    parameters: (position) => JSON.stringify({ in: `o${position}` }),
  },
};

function cascading(image: string) {
  const standing = standingExclusions();
  standing.add({
    $typeName: 'memoir.jobs.v1.Exclusion',
    id: 'e1',
    target: { case: 'dockerImageLocator', value: image },
    cascade: true,
    reason: 'broken',
    excludedBy: 'ada',
    outputLost: false,
    outputV1: '',
  });
  return standing;
}

test('what leads to an output is followed however long the way is, and told by its first step', async (t) => {
  const found = await unfitOutput(endless, cascading('broken'), new Set(['o7']));
  t.is(found?.exclusion.id, 'e1');
  t.deepEqual(found?.taken, { output: 'o7', uuid: 'job-7' });
});

test('a way without an end is given up', async (t) => {
  const error = await t.throwsAsync(unfitOutput(endless, cascading('another'), new Set(['o7'])), {
    name: 'MemoirError',
    message: /more than 100000 jobs or 200000 texts stand upstream/,
  });
  t.like(error, { code: 'RESOURCE_EXHAUSTED', reason: 'LINEAGE_TOO_LONG' });
});

test('parameters with more texts than can be looked up are given up', async (t) => {
  const many = JSON.stringify(Array.from({ length: 250_000 }, (_, i) => `t${i}`));
  const wide: UpstreamContext = { ranges, lineage: { ...endless.lineage, parameters: () => `{"in":${many}}` } };
  await t.throwsAsync(unfitOutput(wide, cascading('another'), new Set(['o7'])), { message: /texts stand upstream/ });
});
