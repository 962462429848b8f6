import { create, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  ContentStoredSchema,
  ExcludedFromReuseSchema,
  ImageForgottenSchema,
  ImageRegisteredSchema,
  ReinstatedForReuseSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { AttemptSchema } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { ContentKind } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { allProjections, historyProjections } from '../../projections/all.js';
import { openPastConnection, type PastReads, pastReads } from '../../projections/history/as-of.js';
import { candidatesByFilters } from '../../projections/lists/candidates-by-filters.js';
import { listJobs } from '../../projections/lists/job-list.js';
import type { ListQuery } from '../../projections/lists/list-query.js';
import type { RequestedBy } from '../../projections/lists/requested-by.js';
import { type Watched, watch } from '../../projections/lists/watched.js';
import { backOffQueries } from '../../projections/read-model/back-offs.js';
import { componentQueries } from '../../projections/read-model/components.js';
import { contentQueries } from '../../projections/read-model/content/content.js';
import { giverQueries } from '../../projections/read-model/content/givers.js';
import { exclusionQueries } from '../../projections/read-model/exclusions.js';
import { imageQueries } from '../../projections/read-model/images.js';
import { jobFromRow, jobQueries } from '../../projections/read-model/jobs.js';
import { lineageQueries } from '../../projections/read-model/lineage.js';
import { queueQueries } from '../../projections/read-model/queue.js';
import { reuseQueries } from '../../projections/read-model/reuse-index.js';
import { openReadModelFile } from '../../projections/running/database.js';
import { runProjections } from '../../projections/running/runner.js';
import { jcsDigest } from '../../src/domain/computation.js';
import type { MemoirEvent } from '../../src/domain/events.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { newestFirst, parseOrder } from '../../src/domain/filters/job-order.js';
import { parseFilters } from '../../src/domain/filters/parse-filters.js';
import { isFinished, type JobRecord } from '../../src/domain/job.js';
import { requirementsOf } from '../../src/domain/placement/requirements.js';
import { factsOf } from '../../src/domain/reuse.js';
import type { Position } from '../../src/eventstore/port.js';
import { noon } from '../domain/commands.js';
import { anyFilterOf } from '../domain/filters/any-filter.js';
import type { Triple } from '../domain/filters/naive.js';
import { rounds } from '../support/rounds.js';
import { same } from '../support/same.js';
import { comparable } from './comparable.js';
import { anyHistory, anySharing, anyTrials, append, happen, type Step, type Told } from './history.js';
import { catchUp, openScratch, type Scratch } from './scratch.js';

/** What happens beside jobs: the event and its stream. */
type Beside = { readonly kind: 'beside'; readonly stream: string; readonly event: MemoirEvent };

const repository = fc.constantFrom('weather', 'climate/long-term');
const locator = fc.constantFrom('image:1', 'image:2', 'image:3');
const id = fc.constantFrom('e1', 'e2', 'e3', 'e4');
const at = fc.integer({ min: noon, max: noon + 1_000_000 }).map(timestampFromMs);

const anyBeside: fc.Arbitrary<Beside> = fc.oneof(
  fc
    .record({
      repository,
      locator,
      tag: fc.constantFrom('', 'latest'),
      hash: fc.constantFrom('h1', 'h2'),
      registeredAt: at,
    })
    .map(({ registeredAt, ...image }) => ({
      kind: 'beside' as const,
      stream: `image-${image.repository}`,
      event: create(ImageRegisteredSchema, { image, registeredAt }),
    })),
  fc.record({ repository, locator, forgottenAt: at }).map((forgotten) => ({
    kind: 'beside' as const,
    stream: `image-${forgotten.repository}`,
    event: create(ImageForgottenSchema, forgotten),
  })),
  fc.record({ repository, id, cascade: fc.boolean(), output: fc.constantFrom('sha256:aa', 'x') }).map((one) => ({
    kind: 'beside' as const,
    stream: `exclusion-${one.repository}`,
    event: create(ExcludedFromReuseSchema, {
      exclusion: { id: one.id, cascade: one.cascade, reason: 'wrong', target: { case: 'output', value: one.output } },
    }),
  })),
  fc.record({ exclusionId: id, reason: fc.constantFrom('', 'mended') }).map((lifted) => ({
    kind: 'beside' as const,
    stream: 'exclusion-weather',
    event: create(ReinstatedForReuseSchema, lifted),
  })),
  fc.record({ digit: fc.constantFrom('b', 'c'), principal: fc.constantFrom('alice', 'bob') }).map((put) => {
    const hash = put.digit.repeat(64);
    const digest = { hash, sizeBytes: 12n, kind: ContentKind.TREE };
    const event = create(ContentStoredSchema, { digest, principal: put.principal });
    return { kind: 'beside' as const, stream: `content-${hash}`, event };
  }),
);

/** Random histories of jobs with images and exclusions in between. */
const anyLog = fc
  .tuple(anyHistory, fc.array(fc.tuple(fc.nat(60), anyBeside), { maxLength: 15 }))
  .map(([steps, besides]): readonly (Step | Beside)[] => {
    const all: (Step | Beside)[] = [...steps];
    for (const [place, beside] of besides) all.splice(place % (all.length + 1), 0, beside);
    return all;
  });

type Names = {
  readonly uuids: readonly string[];
  readonly digests: readonly string[];
  readonly parameters: readonly string[];
};

const query: ListQuery = {
  from: 'jobs',
  filters: [],
  readers: undefined,
  order: newestFirst,
  after: undefined,
  limit: 1_000,
  bytes: Number.MAX_SAFE_INTEGER,
  fields: undefined,
  countTotal: true,
};

const orders = [
  'priority desc, created_at',
  'finished_at, output desc',
  'state desc',
  'lease_expires_at desc',
  'description',
];

/** Everything that can be read, by the queries that the server has. */
function everything(reads: PastReads, { uuids, digests }: Names) {
  const { jobs, candidates, lineage, exclusions, images, content, givers } = reads;
  const outputs = ['sha256:aa', 'x', ''];
  return {
    content: ['b', 'c'].map((digit) => [
      content.get(digit.repeat(64))?.position,
      // Which job gave it last is not asked of the past.
      givers.of(digit.repeat(64)).map(({ job: _, ...giver }) => giver),
    ]),
    jobs: uuids.map((uuid) => withoutFinal(jobs.get(uuid))),
    submitted: ['alice', 'bob'].map((owner) => withoutFinal(jobs.bySubmitId(owner, 'again'))),
    attempts: uuids.map((uuid) => {
      const row = jobs.get(uuid);
      return row && jobs.attempts(row).map((one) => toJson(AttemptSchema, one));
    }),
    leases: jobs.leases(),
    candidates: digests.map((digest) => [candidates.candidates(digest), candidates.lastRun(digest)]),
    lineage: lineage.jobs(0, 1_000),
    positions: uuids.map((uuid) => lineage.position(uuid)),
    parameters: lineage.jobs(0, 1_000).map(({ position }) => [lineage.parameters(position), lineage.job(position)]),
    given: outputs.map((output) => [lineage.givers(output, 0, 100), lineage.liveGivers(output, 0, 100)]),
    taken: outputs.map((output) => lineage.takers(output, 0, 100)),
    products: lineage.products(0, 1_000),
    exclusions: [true, false].map((includeReinstated) =>
      exclusions.list({ includeReinstated, before: Number.MAX_SAFE_INTEGER, limit: 100 }),
    ),
    changes: exclusions.changedAfter(0, 100),
    excluded: ['e1', 'e2', 'e3'].map((one) => exclusions.get(one)),
    images: [true, false].map((includeForgotten) =>
      images.page({ repository: '', includeForgotten, before: Number.MAX_SAFE_INTEGER, limit: 100 }),
    ),
    newest: ['weather', 'climate/long-term'].flatMap((name) => [
      images.newest({ locator: name, repository: name, tag: 'latest' }),
      images.newest({ locator: name, repository: name }),
      [...images.locators({ locator: name, repository: name })].sort(),
    ]),
    located: ['image:1', 'image:2'].map((name) => images.byLocator(name)),
  };
}

/** The row as the table has it. */
function withoutFinal<Row extends object>(row: Row | undefined): Row | undefined {
  const { final_output: _, final_claimed_by: __, ...rest } = (row ?? {}) as Record<string, unknown>;
  return row && (rest as Row);
}

/** What the read model has of each job, and what `evolve` made of it. */
function checkTold(t: ExecutionContext, db: Parameters<typeof listJobs>[0], told: Told, at: string): void {
  const reads = allReads(db);
  const queued = new Set(
    queueQueries(db)
      .places(undefined, 1_000)
      .map(({ uuid }) => uuid),
  );
  const backOffs = new Map(
    backOffQueries(db)
      .all()
      .map((row) => [row.uuid, row]),
  );
  for (const [uuid, { record }] of told) {
    const { job, deleted, backOff, leaseMs, leaseRevision } = record;
    const row = reads.jobs.get(uuid);
    t.is(row === undefined, deleted, at);
    if (row) {
      const read = { ...jobFromRow(row), attempts: reads.jobs.attempts(row), interests: reads.jobs.interests(row) };
      same(t, comparable(read), comparable(job), `${at}: ${uuid}`);
      t.like(row, { lease_ms: leaseMs, lease_revision: leaseRevision }, at);
    }
    const candidate = reads.candidates.candidates(job.computationDigest).find((one) => one.uuid === uuid);
    t.like(candidate, { state: job.state, deleted }, at);
    t.deepEqual(candidate?.ran, factsOf(record).ran, at);
    t.deepEqual(candidate?.inputs, factsOf(record).inputs, at);
    const isParent = (one: JobRecord) =>
      Object.values(one.job.components).includes(uuid) &&
      (isFinished(one.job.state) ? one.cancelled?.cascade === true : true);
    const parents = [...told.values()].filter((one) => isParent(one.record)).map((one) => one.record.job.uuid);
    const known = componentQueries(db)
      .parents(uuid)
      .map((one) => one.uuid);
    if (!isFinished(job.state)) t.deepEqual(known.sort(), parents.sort(), at);
    t.is(queued.has(uuid), job.state === JobState.QUEUED, at);
    if (queued.has(uuid)) t.deepEqual(queueQueries(db).requirementsOf(uuid), requirementsOf(job), `${at}: ${uuid}`);
    const backing = job.state === JobState.QUEUED ? backOff : undefined;
    t.deepEqual(backOffs.get(uuid), backing && { uuid, ...backing }, at);
  }
}

/** Every list of jobs that there are branches for. */
function lists(
  db: Parameters<typeof listJobs>[0],
  watched: Watched,
  names: Names,
  triples: readonly Triple[][],
  asOf?: Position,
) {
  const past = asOf === undefined ? {} : { asOf };
  const list = (changed: Partial<ListQuery>) => {
    const { rows, next, total } = listJobs(db, { ...query, ...past, ...changed }, watched);
    return { rows, next, total };
  };
  const filtersOf = (those: readonly Triple[]) => parseFilters(those.map((triple) => filterFromTriple(triple))).plain;
  const readers = { principal: 'w1', repositories: ['weather'] };
  const first = list({ limit: 3 });
  return {
    all: list({}),
    orders: orders.map((order) => list({ order: parseOrder(order) })),
    readers: list({ readers }),
    claimed: list({ readers: { principal: 'w2', repositories: [] } }),
    requested: whose.flatMap((requestedBy) => {
      const one = list({ requestedBy, limit: 2 });
      return [
        one,
        one.next && list({ requestedBy, limit: 2, after: one.next }),
        list({ requestedBy, order: parseOrder('priority'), filters: filtersOf([['labels.x', '!=', 'y']]) }),
      ];
    }),
    pages: [first, first.next && list({ limit: 3, after: first.next })],
    filtered: triples.map((those) => list({ filters: filtersOf(those), countTotal: true })),
    shortened: names.uuids
      .slice(0, 2)
      .map((uuid) => list({ filters: filtersOf([['uuid', 'like', `${uuid.slice(0, 9)}%`]]), countTotal: true })),
    candidates: names.parameters.flatMap((parametersDigest) =>
      triples.slice(0, 3).map((those) => {
        const filters = filtersOf(those);
        return candidatesByFilters(db, { ...past, parametersDigest, filters, readers: undefined, listed: 2 }, watched);
      }),
    ),
  };
}

const whose: readonly RequestedBy[] = [
  { open: ['bob'], others: [], within: [] },
  { open: ['alice'], others: ['bob', 'carol'], within: ['weather'] },
  { open: [], others: [], within: [] },
];

const usual: readonly Triple[][] = [
  [['repository', '=', 'weather']],
  [['state', 'in', ['Queued', 'Running']]],
  [['state', '=', 'Complete']],
  [['output', '=', 'sha256:aa']],
  [['output', 'in', ['sha256:aa', '']]],
  [['owner', 'in', ['alice', 'bob']]],
  [['claimed_by', '=', 'w1']],
  [['script_version', 'like', 'c0ffee00%']],
];

/** The truth: what a read model that saw the log up to a position answers, for every position. */
async function truths(
  scratch: Scratch,
  read: (db: Parameters<typeof listJobs>[0], watched: Watched, position: Position) => unknown,
) {
  const told = new Map<Position, unknown>();
  const db = openReadModelFile(scratch.path('truth.sqlite'), allProjections);
  const watched = watch(db, () => false);
  for (const { indexes } of allProjections) if (indexes) db.exec(indexes);
  told.set(0, read(db, watched, 0));
  const stop = new AbortController();
  await runProjections(scratch.store, db, allProjections, {
    batchSize: 1,
    signal: stop.signal,
    onApplied({ position, live }) {
      told.set(position, read(db, watched, position));
      if (live) stop.abort();
    },
  });
  db.close();
  return told;
}

function allReads(db: Parameters<typeof listJobs>[0]): PastReads {
  return {
    jobs: jobQueries(db),
    candidates: reuseQueries(db),
    lineage: lineageQueries(db),
    exclusions: exclusionQueries(db),
    images: imageQueries(db),
    content: contentQueries(db),
    givers: giverQueries(db),
  };
}

async function record(
  scratch: Scratch,
  log: readonly (Step | Beside)[],
  history: Map<Position, Told> = new Map(),
): Promise<Told> {
  const told: Told = new Map();
  const note = (position: Position) => history.set(position, new Map(told));
  for (const step of log) {
    if (step.kind === 'beside') note(await append(scratch.store, step.stream, step.event));
    else await happen(scratch.store, [step], told, note);
  }
  return told;
}

function namesOf(told: Told): Names {
  const records = [...told.values()].map(({ record: { job } }) => job);
  return {
    uuids: [...told.keys()],
    digests: [...new Set(records.map(({ computationDigest }) => computationDigest))],
    parameters: [...new Set(records.map(({ scriptParameters }) => jcsDigest(scriptParameters ?? {})))],
  };
}

async function compare(t: ExecutionContext, log: readonly (Step | Beside)[], seed: number): Promise<number> {
  const scratch = await openScratch(() => noon);
  try {
    const history = new Map<Position, Told>();
    const told = await record(scratch, log, history);
    const names = namesOf(told);
    const jobs = [...told.values()].map(({ record: { job } }) => job);
    const random =
      jobs.length === 0
        ? []
        : fc.sample(fc.array(anyFilterOf(jobs), { minLength: 1, maxLength: 2 }), { numRuns: 6, seed });
    const triples = [...random, ...usual];
    const expected = await truths(scratch, (db, watched, position) => {
      checkTold(t, db, history.get(position) ?? new Map(), `at ${position}`);
      return { reads: everything(allReads(db), names), lists: lists(db, watched, names, triples) };
    });
    await catchUp(scratch.store, scratch.path('rm.sqlite'));
    await catchUp(scratch.store, scratch.path('history.sqlite'), { projections: historyProjections });
    const past = openPastConnection({ readModel: scratch.path('rm.sqlite'), history: scratch.path('history.sqlite') });
    const reads = pastReads(past);
    const watched = watch(past.db, () => false);
    // Not in order, so that nothing is taken over from the position before.
    const positions = [...expected.keys()].sort((a, b) => ((a * 7) % 13) - ((b * 7) % 13));
    for (const position of positions) {
      const those = everything(reads(position), names);
      past.moveTo(position);
      same(
        t,
        { reads: those, lists: lists(past.db, watched, names, triples, position) },
        expected.get(position) as never,
        `as of ${position}`,
      );
    }
    past.db.close();
    return positions.length;
  } finally {
    await scratch.close();
  }
}

test('as of every position, every query answers as a read model that ended there', async (t) => {
  t.timeout(110_000);
  let positions = 0;
  const seeds = [2, 1].slice(0, rounds(1, 2));
  for (const seed of seeds) {
    const log: (Step | Beside)[] = fc.sample(anyLog, { numRuns: 5, seed }).flat();
    // At first, so that they have the first jobs.
    log.splice(0, 0, ...fc.sample(anyTrials, { numRuns: 1, seed }).flat());
    positions += await compare(t, log, seed);
  }
  t.true(positions > 45 * seeds.length, `${positions} positions`);
});

test('what a job asks for, its priority and who waits for it are in rows as in its stream, at every position', async (t) => {
  const kinds = new Set<string>();
  const wanted = ['JobJoined', 'JobLeft', 'JobAttemptEnded', 'JobUpdated'];
  const rightly = fc.asyncProperty(anySharing, async (steps) => {
    const scratch = await openScratch(() => noon);
    try {
      const history = new Map<Position, Told>();
      await record(scratch, steps, history);
      await truths(scratch, (db, _, position) =>
        checkTold(t, db, history.get(position) ?? new Map(), `at ${position}`),
      );
      for await (const { type } of scratch.store.readAll()) kinds.add(type);
    } finally {
      await scratch.close();
    }
  });
  await fc.assert(rightly, { numRuns: rounds(12) });
  // Few may happen not to have all of them.
  const all = () => wanted.every((kind) => kinds.has(kind));
  for (let more = 100; more > 0 && !all(); more--) await fc.assert(rightly, { numRuns: 1 });
  for (const kind of wanted) t.true(kinds.has(kind), kind);
});

test('the rows of the history are the same wherever batches end', async (t) => {
  const scratch = await openScratch(() => noon);
  await record(
    scratch,
    [...fc.sample(anyTrials, { numRuns: 1, seed: 7 }), ...fc.sample(anyLog, { numRuns: 6, seed: 7 })].flat(),
  );
  const rows = (name: string, batchSize: number) =>
    catchUp(scratch.store, scratch.path(name), { projections: historyProjections, batchSize });
  const all = await rows('all.sqlite', 10_000);
  t.true(all.length > 25);
  same(t, await rows('one.sqlite', 1), all);
  same(t, await rows('some.sqlite', 7), all);
  await scratch.close();
});
