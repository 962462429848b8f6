import fc from 'fast-check';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { LineageRow } from '../../projections/read-model/lineage.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { type Access, unrestricted } from '../../src/domain/access.js';
import { type LineageOptions, lineageOf } from '../../src/jobs/reading/lineage-of.js';
import { rounds } from '../support/rounds.js';
import { test } from '../support/serial.js';

type Given = {
  readonly output: string;
  readonly took: readonly string[];
  readonly owner: string;
  readonly deleted: number;
};

/** Jobs at positions 1, 2, …, as the index has them. */
function readModelOf(jobs: readonly Given[]): Pick<ReadModel, 'lineage'> {
  const positions = (of: (job: Given) => boolean, after: number, limit: number) =>
    jobs.flatMap((job, i) => (i + 1 > after && of(job) ? [i + 1] : [])).slice(0, limit);
  const lineage: Partial<ReadModel['lineage']> = {
    givers: (output, after, limit) => positions((job) => job.output === output, after, limit),
    takers: (output, after, limit) => positions(({ took }) => took.includes(output), after, limit),
    parameters: (position) => JSON.stringify({ in: jobs[position - 1]?.took }),
    script: () => 'run.sh',
    job(position) {
      const job = jobs[position - 1];
      return job && { ...row, ...job, position, uuid: `job-${position}` };
    },
  };
  return { lineage: lineage as ReadModel['lineage'] };
}

const row: Omit<LineageRow, 'position' | 'uuid' | 'owner' | 'output' | 'deleted'> = {
  repository: 'weather',
  script_version: 'c0ffee',
  docker_image_locator: '',
  state: JobState.COMPLETE,
  nondeterministic: 0,
  output_v1: '',
  log: 'log',
  worker: '',
  worker_name: '',
  ran_from: null,
  ran_until: null,
};

const ada: Access = { ...unrestricted('ada'), readsAll: false, reads: ({ owner }) => owner === 'ada' };
const both: LineageOptions = { up: true, down: true, maxDepth: 100, maxJobs: 1_000 };

/** The distances of all jobs that one leads to in one direction, by going round until nothing changes. */
function reached(jobs: readonly Given[], from: number, sign: 1 | -1, depth: number): Map<number, number> {
  const seen = new Map([[from, 0]]);
  for (let step = 1; step <= depth; step++) {
    for (const [position, distance] of [...seen]) {
      if (Math.abs(distance) !== step - 1) continue;
      const own = jobs[position - 1] as Given;
      jobs.forEach((other, i) => {
        const is = sign > 0 ? other.took.includes(own.output) : own.took.includes(other.output);
        const linked = is && (sign > 0 ? own.output : other.output) !== '';
        if (linked && other.deleted === 0 && other.owner === 'ada' && !seen.has(i + 1)) seen.set(i + 1, sign * step);
      });
    }
  }
  return seen;
}

const output: fc.Arbitrary<string> = fc.constantFrom('', 'a', 'b', 'c', 'd', 'e');
const graph = fc.array(
  fc.record({
    output,
    took: fc.array(output, { maxLength: 3 }),
    owner: fc.constantFrom('ada', 'ada', 'ada', 'bob'),
    deleted: fc.constantFrom(0, 0, 0, 1),
  }),
  { minLength: 1, maxLength: 9 },
);

test('whatever jobs gave and took, exactly what can be reached through readable jobs is told, at its distance', async (t) => {
  await fc.assert(
    fc.asyncProperty(graph, fc.constantFrom(1, 2, 100), async (drawn, maxDepth) => {
      const jobs = drawn.map((job, i) => (i === 0 ? { ...job, owner: 'ada', deleted: 0 } : job));
      for (const sign of [1, -1] as const) {
        const options = { ...both, maxDepth, up: sign < 0, down: sign > 0 };
        const { nodes, links, truncated } = await lineageOf(readModelOf(jobs), ada, 1, options);
        const expected = reached(jobs, 1, sign, maxDepth);
        t.deepEqual(
          new Map([...nodes].map(([position, { distance }]) => [position, distance] as const).sort()),
          new Map([...expected].sort()),
        );
        t.false(truncated);
        for (const { giver, taker, output: text } of links) {
          t.true(nodes.has(giver) && nodes.has(taker));
          t.is(jobs[giver - 1]?.output, text);
          t.true(jobs[taker - 1]?.took.includes(text));
        }
        for (const { distance, unexplored } of nodes.values()) t.is(unexplored, Math.abs(distance) === maxDepth);
      }
    }),
    { numRuns: rounds(100, 2_000) },
  );
});

test('no more jobs are told than were asked for, and it is said', async (t) => {
  const jobs = [
    { output: 'a', took: [], owner: 'ada', deleted: 0 },
    ...Array.from({ length: 600 }, () => ({ output: '', took: ['a'], owner: 'ada', deleted: 0 })),
  ];
  const some = await lineageOf(readModelOf(jobs), ada, 1, { ...both, maxJobs: 400 });
  t.is(some.nodes.size, 400);
  t.is(some.links.length, 399);
  t.true(some.truncated);
  const all = await lineageOf(readModelOf(jobs), ada, 1, both);
  t.is(all.nodes.size, 601);
  t.false(all.truncated);
});
