import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHistogram } from 'node:perf_hooks';
import { create, type JsonValue, toBinary } from '@bufbuild/protobuf';
import {
  GetQueueRequestSchema,
  ListJobsRequestSchema,
  ListJobsResponseSchema,
} from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { openJobLists } from '../projections/lists/job-lists.js';
import { accessOf, unrestricted } from '../src/domain/access.js';
import { MemoirError } from '../src/domain/errors.js';
import { filterFromTriple } from '../src/domain/filters/from-triple.js';
import { openRepositories } from '../src/git/repositories.js';
import type { Caller } from '../src/jobs/caller.js';
import type { JobsContext } from '../src/jobs/context.js';
import { listOfJobs, listOfQueue } from '../src/rpc/jobs/list-jobs.js';
import { fillListedJobs, firstListed, listedJob } from './listed-jobs.js';
import { makeSyntheticRepository, runGit } from './synthetic-repository.js';
import { table } from './table.js';

// How long do lists of jobs take, with each operator, over many jobs? A list is measured from the request to the encoded answer,
// in the thread that answers calls and the threads for lists, without the socket. Beside it: the newest jobs without a filter.
//
//     node build/bench/list-jobs.js [jobs, 1000000 unless given] [calls of each kind, 200 unless given] [directory]
//
// In the directory, if one is given, the jobs are kept for the next time.

type Triple = readonly [string, string, JsonValue];
type Kind = {
  readonly name: string;
  /** True for what an index serves; the others are only bounded. */
  readonly indexed: boolean;
  readonly filters?: (n: number) => readonly Triple[];
  readonly orderBy?: string;
  readonly countTotal?: boolean;
  readonly deep?: boolean;
  readonly caller?: Caller;
  readonly queue?: boolean;
};

const [jobs = 1_000_000, calls = 200] = process.argv.slice(2, 4).map(Number);
const kept = process.argv[4];
const commitCount = 500;
const limit = 5_000;
const directory = kept ?? mkdtempSync(join(tmpdir(), 'memoir-lists-'));
mkdirSync(directory, { recursive: true });
const repositoryPath = join(directory, 'repository.git');
const readModelPath = join(directory, 'read-model.sqlite');
if (!existsSync(repositoryPath)) await makeSyntheticRepository({ path: repositoryPath, commits: commitCount, refs: 0 });
const commits = (await runGit(repositoryPath, ['rev-list', '--topo-order', 'main'])).split('\n');
const middle = commits[Math.floor(commits.length / 2)] ?? '';
const locators = Array.from({ length: 12 }, (_, i) => `tools/align@sha256:${String(i).padStart(64, '0')}`);
const began = performance.now();
if (!existsSync(readModelPath)) fillListedJobs({ path: readModelPath, count: jobs, commits, locators });
const filled = (performance.now() - began) / 1_000;
const size = Math.round(statSync(readModelPath).size / 1024 ** 2);
console.log(`${jobs.toLocaleString('en')} jobs, a read model of ${size} MiB, filled in ${filled.toFixed(0)} s`);

const teams = Array.from({ length: 20 }, (_, i) => `team-${i}/pipeline`);
const repositories = await openRepositories(Object.fromEntries(teams.map((name) => [name, { path: repositoryPath }])));
// The first range of a repository loads its history, which is another bench's.
for (const name of teams) {
  const [end, minimum] = ['HEAD', 'HEAD~1'].map((refspec) => ({ refspec, field: 'warm' }));
  if (end && minimum) await repositories.range(name, { end, minimum });
}
const lists = openJobLists({ readModel: readModelPath, history: '' }, limit);
const images = { locators: async () => new Set(locators.slice(0, 3)) };
const context = { lists, repositories, images } as unknown as JobsContext;
const callerOf = (principal: string): Caller => ({ principal, access: unrestricted(principal), requestId: 'bench' });
const restricted: Caller = {
  ...callerOf('user-3'),
  access: accessOf({ groups: {}, grants: [{ to: ['*'], roles: ['reader'], repositories: ['team-4/*'] }] }, 'user-3'),
};

const where = (n: number): readonly Triple[] => [
  ['repository', '=', listedJob(n).repository],
  ['script', '=', listedJob(n).script],
];
const time = (n: number) => new Date(firstListed + n * 1_000).toISOString();
const kinds: readonly Kind[] = [
  { name: 'newest first (yardstick)', indexed: true },
  { name: 'a page behind half of them', indexed: true, filters: (n) => [['created_at', '<', time(n)]] },
  { name: 'next page', indexed: true, deep: true },
  { name: 'repository =', indexed: true, filters: (n) => [['repository', '=', listedJob(n).repository]] },
  { name: 'repository = and script =', indexed: true, filters: where },
  {
    name: 'repository in (3)',
    indexed: true,
    filters: (n) => [['repository', 'in', [0, 1, 2].map((i) => listedJob(n + i).repository)]],
  },
  { name: 'owner =', indexed: true, filters: (n) => [['owner', '=', listedJob(n).owner]] },
  {
    name: 'script_version =',
    indexed: true,
    filters: (n) => [['script_version', '=', commits[n % commits.length] ?? '']],
  },
  { name: 'uuid =', indexed: true, filters: (n) => [['uuid', '=', listedJob(n).uuid]] },
  {
    name: 'uuid in (100)',
    indexed: true,
    filters: (n) => [['uuid', 'in', Array.from({ length: 100 }, (_, i) => listedJob((n + i) % jobs).uuid)]],
  },
  { name: 'output =', indexed: true, filters: (n) => [['output', '=', `sha256:${listedJob(n).digests.computation}`]] },
  {
    name: 'script_version like abbreviation',
    indexed: false,
    filters: (n) => [['script_version', 'like', `${(commits[n % commits.length] ?? '').slice(0, 8)}%`]],
  },
  { name: 'state = Failed', indexed: true, filters: () => [['state', '=', 'Failed']] },
  { name: 'state = Complete', indexed: true, filters: () => [['state', '=', 'Complete']] },
  { name: 'state !=', indexed: true, filters: () => [['state', '!=', 'Queued']] },
  { name: 'created_at > (recent)', indexed: true, filters: () => [['created_at', '>', time(jobs - 1_000)]] },
  {
    name: 'created_at between',
    indexed: true,
    filters: (n) => [
      ['created_at', '>=', time(n)],
      ['created_at', '<', time(n + 1_000)],
    ],
  },
  {
    name: 'docker_image_locator =',
    indexed: true,
    filters: (n) => [['docker_image_locator', '=', locators[4 * (n % 3)] ?? '']],
  },
  { name: 'in docker', indexed: true, filters: () => [['docker_image_locator', 'in docker', 'tools/align']] },
  { name: 'not in docker', indexed: true, filters: () => [['docker_image_locator', 'not in docker', 'tools/align']] },
  { name: 'in git', indexed: true, filters: (n) => [...where(n), ['script_version', 'in git', middle]] },
  { name: 'not in git', indexed: true, filters: (n) => [...where(n), ['script_version', 'not in git', middle]] },
  {
    name: 'repository =, script like prefix',
    indexed: true,
    filters: (n) => [
      ['repository', '=', listedJob(n).repository],
      ['script', 'like', 'bin/step%'],
    ],
  },
  { name: 'queue', indexed: true, queue: true },
  { name: 'queue, owner =', indexed: true, queue: true, filters: (n) => [['owner', '=', listedJob(n).owner]] },
  { name: 'count of a repository and script', indexed: false, filters: where, countTotal: true },
  { name: 'count of all', indexed: false, countTotal: true },
  { name: 'script like, many match', indexed: false, filters: () => [['script', 'like', '%-3.py']] },
  { name: 'description ilike, many match', indexed: false, filters: () => [['description', 'ilike', 'NIGHTLY%']] },
  { name: 'description like, none', indexed: false, filters: (n) => [['description', 'like', `%x${n}`]] },
  { name: 'any contains, many match', indexed: false, filters: () => [['any', 'contains', 'Nightly']] },
  { name: 'any contains, one', indexed: false, filters: (n) => [['any', 'contains', listedJob(n).digests.parameters]] },
  { name: 'any ilike, none', indexed: false, filters: (n) => [['any', 'ilike', `%x${n}%`]] },
  {
    name: 'script_parameters =, one',
    indexed: false,
    filters: (n) => [['script_parameters.sample', '=', `sample-${n}`]],
  },
  { name: 'script_parameters =, half', indexed: false, filters: () => [['script_parameters.trim', '=', true]] },
  { name: 'script_parameters exists', indexed: false, filters: () => [['script_parameters', 'exists', 'trim']] },
  { name: 'script_parameters >', indexed: false, filters: (n) => [['script_parameters.threshold', '>', n / 8]] },
  { name: 'tasks_summary =, none', indexed: false, filters: () => [['tasks_summary.failed', '=', 9]] },
  { name: 'order by priority desc', indexed: false, orderBy: 'priority desc' },
  {
    name: 'owner =, order by finished_at',
    indexed: false,
    orderBy: 'finished_at',
    filters: (n) => [['owner', '=', listedJob(n).owner]],
  },
  { name: 'readers of one repository', indexed: false, caller: restricted },
];

const signal = new AbortController().signal;

async function once(kind: Kind, n: number): Promise<void> {
  const filters = (kind.filters?.(n) ?? []).map((triple) => filterFromTriple(triple));
  const { orderBy = '', countTotal = false, caller = callerOf('user-1') } = kind;
  if (kind.queue) {
    const page = await listOfQueue(context, create(GetQueueRequestSchema, { filters }))(caller, signal);
    toBinary(ListJobsResponseSchema, create(ListJobsResponseSchema, page));
    return;
  }
  const request = create(ListJobsRequestSchema, { filters, orderBy, countTotal });
  if (kind.deep) request.pageToken = deepToken;
  const page = await listOfJobs(context, request)(caller, signal);
  toBinary(ListJobsResponseSchema, create(ListJobsResponseSchema, page));
}

const { nextPageToken: deepToken } = await listOfJobs(context, create(ListJobsRequestSchema, {}))(
  callerOf('a'),
  signal,
);

const rows: string[][] = [];
const results: Record<string, { p50: number; p99: number; indexed: boolean }> = {};
for (const kind of kinds) {
  const histogram = createHistogram();
  let refused = '';
  const most = kind.indexed ? calls : Math.max(5, calls / 10);
  const until = performance.now() + 20_000;
  for (let i = 0; i < most && performance.now() < until; i++) {
    const n = (i * 7919 + 17) % (jobs - 2_000);
    const start = performance.now();
    try {
      await once(kind, n);
    } catch (error) {
      if (!(error instanceof MemoirError)) throw error;
      refused = error.reason;
    }
    histogram.record(Math.max(1, Math.round((performance.now() - start) * 1_000)));
  }
  const ms = (percentile: number) => histogram.percentile(percentile) / 1_000;
  const [p50, p99] = [ms(50), ms(99)];
  results[kind.name] = { p50, p99, indexed: kind.indexed };
  const verdict = refused || (kind.indexed ? (p99 <= 20 ? 'yes' : 'NO') : '');
  rows.push([kind.name, String(histogram.count), p50.toFixed(1), p99.toFixed(1), verdict]);
}
console.log(table(['list', 'calls', 'p50 ms', 'p99 ms', '≤ 20 ms'], rows));
console.log(JSON.stringify({ jobs, results }));
await lists.close();
await repositories.close();
if (kept === undefined) rmSync(directory, { recursive: true });
