import {
  type GetLineageResponse,
  LineageDirection,
  type LineageJob,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { stateName } from '../../domain/job.js';
import { printable } from './printable.js';
import { styled } from './style.js';

type Steps = ReadonlyMap<string, readonly string[]>;

/** The lineage as people read it: one tree each way, in which a job that was there already is named and not followed again. */
export function lineageTrees(lineage: GetLineageResponse, direction: LineageDirection): string {
  const [root] = lineage.jobs;
  if (!root) throw new Error('the server answered without a job');
  const jobs = new Map(lineage.jobs.map((job) => [job.uuid, job]));
  const lines = [text(root)];
  const ways: [LineageDirection, string, Steps][] = [
    [LineageDirection.UP, 'took what these gave:', stepsOf(lineage, 'takerUuid', 'giverUuid')],
    [LineageDirection.DOWN, 'gave what these took:', stepsOf(lineage, 'giverUuid', 'takerUuid')],
  ];
  for (const [way, title, steps] of ways) {
    if (direction !== LineageDirection.UNSPECIFIED && direction !== way) continue;
    const sign = way === LineageDirection.UP ? -1 : 1;
    const below = branches(root, steps, jobs, sign, new Set([root.uuid]), '');
    lines.push(styled('dim', below.length > 0 ? title : title.replace(/these (\w+):/, 'no job $1')), ...below);
  }
  return lines.join('\n');
}

/** What stands one step from each job, each once. */
function stepsOf({ links }: GetLineageResponse, from: 'giverUuid' | 'takerUuid', to: 'giverUuid' | 'takerUuid'): Steps {
  const steps = new Map<string, string[]>();
  for (const link of links) {
    const known = steps.get(link[from]) ?? [];
    if (!known.includes(link[to])) known.push(link[to]);
    steps.set(link[from], known);
  }
  return steps;
}

function branches(
  job: LineageJob,
  steps: Steps,
  jobs: ReadonlyMap<string, LineageJob>,
  sign: 1 | -1,
  seen: Set<string>,
  indent: string,
): string[] {
  // What stands the other way of the first job is of the other tree.
  const next = (steps.get(job.uuid) ?? [])
    .map((uuid) => jobs.get(uuid))
    .filter((one) => one !== undefined)
    .filter(({ distance }) => distance === 0 || Math.sign(distance) === sign);
  return next.flatMap((one, i) => {
    const last = i === next.length - 1;
    const line = `${indent}${last ? '└─ ' : '├─ '}`;
    if (seen.has(one.uuid)) return [`${line}${printable(one.uuid)} ${styled('dim', '(see above)')}`];
    seen.add(one.uuid);
    const below = branches(one, steps, jobs, sign, seen, `${indent}${last ? '   ' : '│  '}`);
    const more = one.unexplored ? ` ${styled('dim', '(not looked further; see --depth)')}` : '';
    return [`${line}${text(one)}${more}`, ...below];
  });
}

function text({ uuid, repository, script, state }: LineageJob): string {
  return `${printable(uuid)} ${printable(script)} of ${printable(repository)}, ${stateName(state)}`;
}

/** The lineage in Graphviz' language: an arrow from who gave to who took. */
export function lineageDot({ jobs, links }: GetLineageResponse): string {
  const quoted = (value: string) => `"${printable(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  const nodes = jobs.map((job) => {
    const label = [job.uuid.slice(0, 8), job.script, stateName(job.state)].map((part) => quoted(part).slice(1, -1));
    const shape = job.distance === 0 ? ', shape=box, penwidth=2' : ', shape=box';
    return `  ${quoted(job.uuid)} [label="${label.join('\\n')}"${shape}];`;
  });
  const arrows = links.map(
    ({ giverUuid, takerUuid, output }) =>
      `  ${quoted(giverUuid)} -> ${quoted(takerUuid)} [label=${quoted(output.slice(0, 19))}];`,
  );
  return ['digraph lineage {', ...nodes, ...arrows, '}'].join('\n');
}
