import { create, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import fc from 'fast-check';
import { WorkerTargetSchema } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { ExclusionTarget } from '../../src/domain/exclusions.js';
import { catchUp } from '../projections/scratch.js';
import { type ExclusionsBench, type JobSketch, openExclusionsBench, type Place } from '../support/exclusions.js';
import { type GeneratedCommit, histories, writeHistory } from '../support/git-history.js';
import { makeRepository } from '../support/git-repository.js';
import { rounds } from '../support/rounds.js';
import { same } from '../support/same.js';

// Random histories of jobs and exclusions, against a reference that filters all jobs in memory, as plainly as the rule is stated.

/** Operations in all: runs times length. */
const [runs, length] = [rounds(2, 8), 260];

const addresses = Array.from({ length: 4 }, (_, i) => `sha256:${String(i).repeat(64)}`);
const outputs = ['o0', 'o1', 'o2', 'o3', 'o4', 'o5', ...addresses];
const workerNames = ['', 'cellar', 'attic'];
const images = ['', 'image-1', 'image-2'];
const repositoryNames = ['one', 'twin'];

type KnownJob = {
  readonly job: Job;
  readonly sketch: JobSketch;
  readonly commit: number;
  /** Where and when it ran; undefined unless it is complete. */
  ran?: Required<Place>;
  output: string;
  log: string;
  state: 'queued' | 'complete' | 'failed';
  deleted: boolean;
};
type KnownExclusion = {
  readonly id: string;
  readonly hitsItself: (job: KnownJob) => boolean;
  /** Output that is excluded as such. */
  readonly output?: string;
  readonly cascade: boolean;
  lifted: boolean;
};

/** The reference: everything in memory. */
type World = {
  readonly jobs: KnownJob[];
  readonly exclusions: KnownExclusion[];
  readonly history: readonly GeneratedCommit[];
  readonly ids: readonly string[];
  /** What was found right, to be asked again of the past. */
  readonly checks: { readonly known: KnownJob; readonly position: number; readonly right: readonly string[] }[];
};

function texts(value: JsonValue): string[] {
  if (typeof value === 'string') return [value];
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(texts) : [];
}

const took = (job: KnownJob, output: string) =>
  output !== '' &&
  texts(job.sketch.parameters).some(
    (text) => text === output || (output.startsWith('sha256:') && text.startsWith(`${output}/`)),
  );

function inHistory(history: readonly GeneratedCommit[], ancestor: number, commit: number): boolean {
  return ancestor === commit || (history[commit]?.parents ?? []).some((parent) => inHistory(history, ancestor, parent));
}

/** All jobs that an exclusion hits, as plainly as the rule says it. */
function hit({ jobs }: World, exclusion: KnownExclusion): Set<KnownJob> {
  const found = new Set(jobs.filter(exclusion.hitsItself));
  if (!exclusion.cascade) return found;
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    const bad = new Set([...found].map(({ output }) => output));
    if (exclusion.output !== undefined) bad.add(exclusion.output);
    for (const job of jobs) if ([...bad].some((output) => took(job, output))) found.add(job);
  }
  return found;
}

const standing = ({ exclusions }: World) => exclusions.filter(({ lifted }) => !lifted);

function reusable({ job, state, deleted, output, log }: KnownJob): boolean {
  if (deleted || job.nondeterministic || state === 'failed') return false;
  return state === 'queued' || (output !== '' && log !== '');
}

const operation = fc.record({
  kind: fc.constantFrom(
    ...(['request', 'request', 'request', 'complete', 'complete', 'complete', 'exclude', 'exclude', 'again'] as const),
    ...(['reinstate', 'delete', 'fail', 'lost', 'check'] as const),
  ),
  pick: fc.nat(10_000),
  other: fc.nat(10_000),
  third: fc.nat(10_000),
  yes: fc.boolean(),
});
type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never;

const at = <T>(list: readonly T[], n: number): T => list[n % list.length] as T;

function parametersOf({ other, third, yes }: Operation, n: number): JsonObject {
  const taken = at(outputs, other);
  const shown = taken.startsWith('sha256:') && yes ? `${taken}/reads.fastq` : taken;
  return at<JsonObject>(
    [
      { n: third % 3 },
      { in: shown },
      { deep: [{ er: [shown, 7, null] }], n },
      { one: taken, other: at(outputs, third) },
      { [taken]: true },
    ],
    n,
  );
}

/** A target for the use case, and what the reference takes it for. */
function targetOf(world: World, { other, third, yes }: Operation, n: number) {
  const { jobs, history, ids } = world;
  const repository = at(repositoryNames, third);
  const [a, b] = [other % ids.length, third % ids.length];
  const kinds: (() => { target: ExclusionTarget; hitsItself: KnownExclusion['hitsItself']; output?: string })[] = [
    () => {
      const chosen = at(
        jobs.filter(({ deleted }) => !deleted),
        other,
      );
      return { target: { case: 'jobUuid', value: chosen.job.uuid }, hitsItself: (job) => job === chosen };
    },
    () => ({
      target: { case: 'commit', value: { $typeName: 'memoir.jobs.v1.CommitTarget', repository, commit: `c${a}` } },
      hitsItself: (job) => job.sketch.repository === repository && job.commit === a,
    }),
    () => {
      const fixed = yes && !inHistory(history, b, a);
      const value = { repository, introducedBy: `c${a}`, fixedBy: fixed ? `c${b}` : '' };
      return {
        target: { case: 'commitRange', value: { $typeName: 'memoir.jobs.v1.CommitRangeTarget', ...value } },
        hitsItself: (job) =>
          job.sketch.repository === repository &&
          inHistory(history, a, job.commit) &&
          !(fixed && inHistory(history, b, job.commit)),
      };
    },
    () => {
      const image = at(images.slice(1), other);
      return { target: { case: 'dockerImageLocator', value: image }, hitsItself: (job) => job.sketch.image === image };
    },
    () => {
      const output = at(outputs, other);
      return { target: { case: 'output', value: output }, hitsItself: (job) => job.output === output, output };
    },
    () => {
      const [name, since, until] = [
        at(workerNames, other),
        1_000 * (third % 4),
        1_000 * (1 + (third % 4) + (other % 3)),
      ];
      const time = yes ? { since: timestampFromMs(since), until: timestampFromMs(until) } : {};
      return {
        target: {
          case: 'worker',
          value: create(WorkerTargetSchema, { principal: 'worker', workerName: name, ...time }),
        },
        hitsItself: ({ ran, state }) =>
          state === 'complete' &&
          ran !== undefined &&
          (name === '' || ran.name === name) &&
          !(yes && (ran.until < since || ran.from >= until)),
      };
    },
  ];
  return at(kinds, n)();
}

async function apply(bench: ExclusionsBench, world: World, op: Operation): Promise<string | undefined> {
  const { jobs, exclusions } = world;
  const { kind, pick, other, third, yes } = op;
  const ada = bench.caller('ada');
  const open = jobs.filter(({ state }) => state === 'queued');
  const someJob = at(jobs, pick);
  switch (kind) {
    case 'request': {
      const commit = other % world.ids.length;
      const sketch: JobSketch = {
        repository: at(repositoryNames, third),
        commit: world.ids[commit] as string,
        image: at(images, other),
        parameters: parametersOf(op, pick),
        nondeterministic: pick % 13 === 0,
      };
      const job = await bench.request(sketch);
      jobs.push({ job, sketch, commit, output: '', log: '', state: 'queued', deleted: false });
      return undefined;
    }
    case 'complete': {
      if (open.length === 0) return undefined;
      const done = at(open, pick);
      const given = other % 9 === 0 ? '' : at(outputs, other);
      const log = third % 11 === 0 ? '' : 'log';
      const from = 1_000 * (third % 5);
      const ran = { name: at(workerNames, third), from, until: from + 1_000 * (pick % 3) };
      await bench.complete(done.job, given, log, ran);
      Object.assign(done, { output: given, log, state: 'complete', ran });
      return undefined;
    }
    case 'fail': {
      if (open.length === 0) return undefined;
      const failed = at(open, pick);
      const command = { kind: 'cancel', principal: 'ada', cascadeFrom: '', now: 0 } as const;
      await bench.context.streams.execute(ada, failed.job.uuid, command);
      failed.state = 'failed';
      return undefined;
    }
    case 'delete': {
      if (!someJob || someJob.state === 'queued' || someJob.deleted) return undefined;
      await bench.context.streams.execute(ada, someJob.job.uuid, { kind: 'delete', principal: 'ada', now: 0 });
      someJob.deleted = true;
      return undefined;
    }
    case 'exclude':
    case 'again': {
      if (!jobs.some(({ deleted }) => !deleted)) return undefined;
      const { target, hitsItself, output } = targetOf(world, op, pick);
      const order = {
        target,
        cascade: other % 2 === 0,
        reason: kind === 'again' ? 'again' : `because ${exclusions.length}`,
      };
      const wanted: KnownExclusion = {
        id: '',
        hitsItself,
        cascade: order.cascade,
        lifted: false,
        ...(output !== undefined && { output }),
      };
      const expected = (except?: string) => {
        const others = standing(world)
          .filter(({ id }) => id !== except)
          .map((exclusion) => hit(world, exclusion));
        const hits = hit(world, wanted);
        const listed = jobs.filter((job) => hits.has(job) && reusable(job) && !others.some((those) => those.has(job)));
        return listed.map(({ job }) => job.uuid);
      };
      if (yes) {
        const before = await bench.context.store.end();
        const preview = await bench.exclusions.preview(ada, order, 5);
        if ((await bench.context.store.end()) !== before) return 'a preview recorded something';
        if (String(preview.hits.first.map(({ uuid }) => uuid)) !== String(expected().slice(0, 5))) {
          // A retry lists also what the exclusion that stands hits, which a preview cannot know.
          return `preview: ${JSON.stringify(preview.hits)} instead of ${expected()}`;
        }
      }
      const { exclusion, hits } = await bench.exclusions.exclude(ada, order, 10_000);
      const known = exclusions.find(({ id }) => id === exclusion.id);
      if (known && (known.lifted || kind !== 'again')) return 'a new order was taken for a retry';
      if (
        String(hits.first.map(({ uuid }) => uuid)) !== String(expected(exclusion.id)) ||
        hits.count !== hits.first.length
      ) {
        return `hits: ${JSON.stringify(hits)} instead of ${expected(exclusion.id)}`;
      }
      for (const { uuid, through } of hits.first) {
        const [taker, giver] = [uuid, through].map((wantedUuid) => jobs.find(({ job }) => job.uuid === wantedUuid));
        if (through === '' && taker && (hitsItself(taker) || (output !== undefined && took(taker, output)))) continue;
        if (taker && giver && took(taker, giver.output) && hit(world, wanted).has(giver)) continue;
        return `job ${uuid} is not hit through ${through}`;
      }
      if (!known) exclusions.push({ ...wanted, id: exclusion.id });
      return check(bench, world, other);
    }
    case 'lost': {
      const output = at(outputs, other);
      const having = jobs.filter((job) => job.output === output && !job.deleted).length;
      if (having === 0) return undefined;
      const lost = await bench.exclusions.reportLost(ada, output, `lost ${pick}`);
      if (lost.jobCount !== having) return `${lost.jobCount} jobs have ${output} instead of ${having}`;
      const { exclusion } = lost;
      if (!exclusion) return 'what servers do not keep was not excluded';
      if (!exclusions.some(({ id }) => id === exclusion.id)) {
        exclusions.push({
          id: exclusion.id,
          hitsItself: (job) => job.output === output,
          cascade: false,
          lifted: false,
        });
      }
      return check(bench, world, other);
    }
    case 'reinstate': {
      const chosen = at(standing(world), pick);
      if (!chosen) return undefined;
      await bench.exclusions.reinstate(ada, chosen.id, 'mended');
      chosen.lifted = true;
      return check(bench, world, other);
    }
    case 'check':
      await bench.settle();
      return (await check(bench, world, other)) ?? check(bench, world, third);
  }
}

/** Compares what rules a job out with what the reference says. */
async function check(bench: ExclusionsBench, world: World, n: number): Promise<string | undefined> {
  const known = at(world.jobs, n);
  if (!known) return undefined;
  const by = await bench.ruledOut(known.job, known.sketch);
  const right = standing(world)
    .filter((exclusion) => hit(world, exclusion).has(known))
    .map(({ id }) => id);
  if (!known.deleted) world.checks.push({ known, position: await bench.context.store.end(), right });
  if (by === undefined ? right.length === 0 : right.includes(by)) return undefined;
  return `job ${known.job.uuid} is ruled out by ${by} instead of ${right.length === 0 ? 'nothing' : right}`;
}

test('what exclusions hit is what a reference in memory says, after any history', async (t) => {
  t.timeout(600_000);
  const repository = makeRepository({ bare: true });
  const [history = []] = fc.sample(histories(24), { numRuns: 1, seed: 11 });
  const ids = writeHistory(repository, history);
  let done = 0;
  let checked = 0;
  let past = 0;
  const property = fc.asyncProperty(
    fc.array(operation, { minLength: length, maxLength: length }),
    async (operations) => {
      const bench = await openExclusionsBench({ one: repository.path, twin: repository.path });
      const world: World = { jobs: [], exclusions: [], history, ids, checks: [] };
      try {
        for (const [i, op] of operations.entries()) {
          const wrong = await apply(bench, world, op);
          if (wrong !== undefined) throw new Error(`operation ${i}, ${op.kind}: ${wrong}`);
          done++;
        }
        await bench.settle();
        for (const [n] of world.jobs.entries()) {
          const wrong = await check(bench, world, n);
          if (wrong !== undefined) throw new Error(`at the end: ${wrong}`);
          checked++;
        }
        for (const { known, position, right } of world.checks) {
          const by = await bench.ruledOutThen(known.job, known.sketch, position);
          if (by === undefined ? right.length === 0 : right.includes(by)) past++;
          else throw new Error(`as of ${position}, job ${known.job.uuid} is ruled out by ${by} instead of ${right}`);
        }
        const live = await catchUp(bench.context.store, bench.path('read-model.sqlite'));
        same(t, live, await catchUp(bench.context.store, bench.path('rebuilt.sqlite'), { batchSize: 7 }));
      } finally {
        await bench.close();
      }
    },
  );
  // The operations themselves would fill the report; the seed gives them again.
  const { failed, seed, counterexamplePath, errorInstance } = await fc.check(property, {
    numRuns: runs,
    endOnFailure: true,
  });
  t.false(failed, `seed ${seed}, path ${counterexamplePath}: ${(errorInstance as Error | null)?.message}`);
  t.log(`${done} operations, ${checked} jobs checked at the end`);
  t.true(done >= runs * 250);
  t.true(past > runs * 60, `${past} checks of the past`);
  repository.dispose();
});
