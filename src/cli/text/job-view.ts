import { type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import canonicalize from 'canonicalize';
import type { Interest } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { ContentKind } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { Input } from '../../../gen/memoir/jobs/v1/input_pb.js';
import { type Job, JobSchema, JobState, type RuntimeConstraints } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { protoName } from '../../domain/proto-name.js';
import { attemptText, limitsText, retryText } from './attempt-text.js';
import { type FittedColumn, fittedTable } from './fitted-table.js';
import { keepingLines } from './keeping-text.js';
import { printable, printableLines } from './printable.js';
import { phasesText, ranInText, ranTookText } from './ran-text.js';
import { stateText } from './style.js';
import { sheet } from './table.js';
import { age, instant } from './time-text.js';

type JobColumn = FittedColumn & { readonly text: (job: Job, nowMs: number) => string };

const jobColumns: readonly JobColumn[] = [
  { title: 'UUID', text: (job) => job.uuid },
  { title: 'STATE', text: stateAndProgress },
  { title: 'PRIO', rank: 2, text: (job) => String(job.priority) },
  { title: 'CREATED', rank: 5, text: (job, nowMs) => age(job.createdAt, nowMs) },
  { title: 'OWNER', rank: 3, least: 8, text: (job) => cell(job.owner, 24) },
  { title: 'REPOSITORY', rank: 4, least: 10, text: (job) => cell(job.repository, 32) },
  { title: 'SCRIPT', rank: 7, least: 8, text: (job) => cell(job.script, 40) },
  { title: 'VERSION', rank: 1, text: (job) => job.scriptVersion.slice(0, 12) },
  { title: 'PARAMETERS', rank: 6, least: 10, text: (job) => cell(canonicalize(job.scriptParameters ?? {}) ?? '', 48) },
];

/**
 * Jobs as a table, one a line.
 * @param width of the lines in characters, to which columns are left out and cells cut
 * @param waiting what jobs wait for that no worker could run, by their uuids
 */
export function jobTable(
  jobs: readonly Job[],
  nowMs: number,
  width = Number.POSITIVE_INFINITY,
  waiting: ReadonlyMap<string, string> = new Map(),
): string {
  const waits = { title: 'WAITS FOR', rank: 8, least: 10, text: ({ uuid }: Job) => cell(waiting.get(uuid) ?? '', 100) };
  const columns = waiting.size === 0 ? jobColumns : [...jobColumns, waits];
  const rows = jobs.map((job) => columns.map(({ text }) => text(job, nowMs)));
  return fittedTable(columns, rows, width);
}

/**
 * Jobs as a table of their uuids and of nothing but the fields, or parts of fields, that were asked for.
 * @param paths in the spelling of the proto, such as `runtime_constraints.docker_image`
 */
export function selectedTable(
  jobs: readonly Job[],
  paths: readonly string[],
  width = Number.POSITIVE_INFINITY,
): string {
  const columns = [...new Set(['uuid', ...paths])];
  const rows = jobs.map((job) => {
    const json = toJson(JobSchema, job, { useProtoFieldName: true, alwaysEmitImplicit: true }) as JsonObject;
    return columns.map((path) => (path === 'state' ? stateText(job.state) : cell(valueAt(json, path), 100)));
  });
  return fittedTable(
    columns.map((path) => ({ title: path.toUpperCase(), ...(path !== 'uuid' && path !== 'state' && { least: 10 }) })),
    rows,
    width,
  );
}

/** The value at a path as text; empty for none. */
function valueAt(json: JsonObject, path: string): string {
  let value: JsonValue | undefined = json;
  for (const name of path.split('.')) {
    value = value !== null && typeof value === 'object' ? (value as JsonObject)[name] : undefined;
  }
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : (canonicalize(value) ?? '');
}

function stateAndProgress(job: Job): string {
  return stateText(job.state) + (running(job) && job.progress !== undefined ? ` ${percent(job.progress)}` : '');
}

function running(job: Job): boolean {
  return job.state === JobState.RUNNING;
}

/** How many want a job, where it is more than one. */
function wantedText({ interestCount, waitingSince }: Job, nowMs: number): string {
  if (interestCount < 2) return '';
  return `${interestCount}, the first of them since ${instant(waitingSince)} (${age(waitingSince, nowMs)})`;
}

function interestText({ principal, since, priority }: Interest, nowMs: number): string {
  return `of ${printable(principal)}, priority ${priority}, since ${instant(since)} (${age(since, nowMs)})`;
}

/** Everything about one job, one fact a line. */
export function jobSheet(job: Job, nowMs: number, waitingFor = ''): string {
  const when = (time: Job['createdAt']) => (time ? `${instant(time)} (${age(time, nowMs)})` : '');
  return sheet([
    ['uuid', job.uuid],
    ['state', stateText(job.state)],
    ['waits for', printable(waitingFor)],
    ['wanted by', wantedText(job, nowMs)],
    ...(job.interestCount > 1 ? job.interests : []).map(
      (one) => [`interest ${printable(one.id)}`, interestText(one, nowMs)] as const,
    ),
    ['damaged', job.damaged ? 'yes: its stream was deleted or truncated in the event store' : ''],
    ['failure', job.failureReason && `${printable(job.failureReason)}: ${indented(job.failureMessage)}`],
    ['progress', progressText(job)],
    ['tasks', tasksText(job)],
    ['owner', printable(job.owner)],
    ['repository', printable(job.repository)],
    ['script', printable(job.script)],
    ['script version', versionText(job)],
    ['code paths', job.codePaths.map(printable).join(', ')],
    ['code', printable(job.codeDigest)],
    ['parameters', printable(canonicalize(job.scriptParameters ?? {}) ?? '')],
    ['not hashed', job.unhashedParameters ? printable(canonicalize(job.unhashedParameters) ?? '') : ''],
    ...job.inputs.map((input) => [`input ${printable(input.pointer)}`, inputText(input)] as const),
    ['constraints', job.runtimeConstraints ? constraintsText(job.runtimeConstraints) : ''],
    ['docker image', printable(job.dockerImageLocator)],
    ['arvados sdk', printable(job.arvadosSdkVersion)],
    ['priority', String(job.priority)],
    ['left as they are', leftOf(job)],
    ['require output', job.requireOutput ? 'yes: a run without any fails' : ''],
    ['supersedes', job.supersede ? 'earlier runs of the same, once it is Complete' : ''],
    ['nondeterministic', job.nondeterministic ? 'yes: never reused' : ''],
    ['submit id', printable(job.submitId)],
    ['description', indented(job.description)],
    ...Object.entries(job.components).map(([name, uuid]) => [`component ${printable(name)}`, printable(uuid)] as const),
    ...Object.entries(job.labels).map(([name, value]) => [`label ${printable(name)}`, printable(value)] as const),
    ...Object.entries(job.requiredLabels).map(
      ([name, value]) => [`required label ${printable(name)}`, printable(value)] as const,
    ),
    ['created', when(job.createdAt)],
    ['started', when(job.startedAt)],
    ['finished', when(job.finishedAt)],
    ...job.attempts.map((attempt) => [`attempt ${attempt.number}`, attemptText(attempt, job, nowMs)] as const),
    ['run again', job.retry ? retryText(job.retry) : ''],
    ['limits', job.limits ? limitsText(job.limits) : ''],
    ['run again for', printable(job.retryOf)],
    ['compared with', printable(job.checkOf)],
    ['secrets', job.secrets.map(({ name, grant }) => printable(`${name}@${grant}`)).join(', ')],
    ['cancelled', job.cancelledAt ? `${when(job.cancelledAt)} by ${printable(job.cancelledBy)}` : ''],
    ['worker', printable(job.claimedBy)],
    ['lease until', instant(job.leaseExpiresAt)],
    ['ran in', job.ran ? ranInText(job.ran) : ''],
    ['took', job.ran ? ranTookText(job.ran) : ''],
    ['phases', job.ran?.phases ? phasesText(job.ran.phases) : ''],
    ['output', printable(job.output)],
    ['log', printable(job.log)],
    ...keepingLines(job, nowMs),
    ['run number', String(job.runNumber)],
    ['computation', job.computationDigest],
    ['revision', String(job.revision)],
  ]);
}

/** Where the job is taken from and what of it: `repository:script at commit ("refspec")`. */
export function versionText(job: Pick<Job, 'scriptVersion' | 'suppliedScriptVersion'>): string {
  const supplied = job.suppliedScriptVersion;
  const version = printable(job.scriptVersion);
  return supplied === '' || supplied === job.scriptVersion ? version : `${version} (given as ${printable(supplied)})`;
}

/** How far the run is, for people; empty if its worker never said. */
export function progressText(job: Pick<Job, 'progress' | 'progressMessage'>): string {
  const parts = [job.progress === undefined ? '' : percent(job.progress), cell(job.progressMessage, 100)];
  return parts.filter((part) => part !== '').join(' ');
}

/** The job's tasks, for people; empty if its worker never said. */
export function tasksText(job: Pick<Job, 'tasksSummary'>): string {
  const tasks = job.tasksSummary;
  if (!tasks) return '';
  return `${tasks.done} done, ${tasks.running} running, ${tasks.todo} to do, ${tasks.failed} failed`;
}

/** The constraints that are set, for people. */
export function constraintsText(constraints: RuntimeConstraints): string {
  return Object.entries(constraints)
    .filter(([name, value]) => !name.startsWith('$') && value !== '' && value !== undefined)
    .map(([name, value]) => `${protoName(name)}=${printable(String(value))}`)
    .join(' ');
}

function inputText({ content, path, digest, job }: Input): string {
  const where = `sha256:${content?.hash ?? ''}${path === '' ? '' : `/${printable(path)}`}`;
  const what = digest?.kind === ContentKind.TREE ? 'directory' : `file of ${digest?.sizeBytes ?? 0n} bytes`;
  return `${what}, ${where}${job === '' ? '' : `, given by job ${printable(job)}`}`;
}

function percent(progress: number): string {
  return `${Math.floor(progress * 100)} %`;
}

/** Lines after the first stand under it. */
function indented(text: string): string {
  return printableLines(text.trimEnd());
}

/** The text cut to a width of a table's column, and printable. */
function cell(text: string, width: number): string {
  const characters = [...text];
  return printable(characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : text);
}

/** What a checkout of the job leaves instead of failing. */
function leftOf({ leaveLfsPointers, leaveSubmodules }: Pick<Job, 'leaveLfsPointers' | 'leaveSubmodules'>): string {
  return [...(leaveLfsPointers ? ['pointers of git-lfs'] : []), ...(leaveSubmodules ? ['submodules'] : [])].join(', ');
}
