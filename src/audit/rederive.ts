import { create, type JsonObject } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Decision, type DecisionBasis, DecisionBasisSchema } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { CreateJobRequestSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { candidatesByFilters } from '../../projections/lists/candidates-by-filters.js';
import { distinctValues } from '../../projections/lists/distinct-values.js';
import { type Access, unrestricted } from '../domain/access.js';
import { codePathsText } from '../domain/code/code-paths.js';
import { computationDigests, jobUuid } from '../domain/computation.js';
import type { JobRecord } from '../domain/job.js';
import { type CandidateFacts, labelsText, type ReuseTerms } from '../domain/reuse.js';
import { knowsRules } from '../domain/rule-sets.js';
import { secretsText } from '../domain/secrets/grants.js';
import { jobStream } from '../domain/streams.js';
import type { EventLog, Position } from '../eventstore/port.js';
import type { CommitRanges } from '../exclusions/commit-ranges.js';
import { exclusionRulesAsOf, type StandingThen, standingAsOf } from '../exclusions/rules-as-of.js';
import type { Repositories } from '../git/port.js';
import type { Caller } from '../jobs/caller.js';
import type { DecidingContext } from '../jobs/context.js';
import { type AcceptedCommits, acceptedCommits } from '../jobs/deciding/accepted-commits.js';
import { createdNoMatch, reused } from '../jobs/deciding/decision-message.js';
import { reusableFinder } from '../jobs/deciding/find-reusable.js';
import type { Wanted } from '../jobs/deciding/wanted.js';
import { logAsOf, recordFromRow } from '../jobs/reading/context-as-of.js';
import { evolveRecorded } from '../jobs/reading/evolve-recorded.js';
import type { PastOfLog } from './past-of-log.js';
import type { RecordedDecision } from './recorded-decision.js';
import { resolvedAgain } from './resolved-again.js';

/** What decisions are taken again with. */
export type RederiveContext = {
  readonly log: EventLog;
  readonly past: PastOfLog;
  readonly repositories: Repositories;
  readonly ranges: CommitRanges;
};

/** A decision that cannot be taken again; the message says why. */
export class Underivable extends Error {}

/** Takes a recorded decision again, by the rules that CreateJob has, from what the log had told when it was taken. */
export type Rederive = (decision: RecordedDecision) => Promise<Decision>;

/**
 * Makes it.
 * @throws Underivable, or MemoirError as the repositories do, for a decision that cannot be taken again
 */
export function rederiver(context: RederiveContext): Rederive {
  const { log, past, repositories, ranges } = context;
  let standing: { readonly changed: Position; readonly exclusions: StandingThen } | undefined;

  async function standingAt(position: Position): Promise<StandingThen> {
    const changed = past.lastExclusion(position);
    if (standing?.changed !== changed) {
      standing = { changed, exclusions: await standingAsOf(past.at(position).exclusions) };
    }
    return standing.exclusions;
  }

  /** The job as its stream was at a revision. */
  async function recordAt(uuid: string, revision: number): Promise<JobRecord | undefined> {
    let record: JobRecord | undefined;
    for await (const recorded of log.readStream(jobStream(uuid), 0, { limit: revision + 1 })) {
      record = evolveRecorded(record, recorded);
    }
    return record;
  }

  /** The jobs that were looked up in their own streams, in the order of the looks; others as the candidates were. */
  function streamsOf(basis: DecisionBasis, position: Position): DecidingContext['streams'] {
    const looks = [...basis.fresh];
    return {
      current: () => undefined,
      unread: () => undefined,
      async load(uuid) {
        const of = looks.filter((look) => look.uuid === uuid);
        const [look] = of;
        if (look && of.length > 1) looks.splice(looks.indexOf(look), 1);
        if (look) return recordAt(uuid, look.revision);
        const { jobs } = past.at(position);
        const row = jobs.get(uuid);
        return row && recordFromRow(row, jobs.attempts(row));
      },
    };
  }

  function listsOf(position: Position, commits: Position, known: readonly string[]): DecidingContext['lists'] {
    const { connection, watched } = past;
    return {
      async values(query) {
        if (query.field === 'repository') return { values: known, position };
        connection.moveTo(commits);
        return distinctValues(connection.db, query, watched);
      },
      async candidates(query) {
        connection.moveTo(position);
        return candidatesByFilters(connection.db, { ...query, asOf: position }, watched);
      },
    };
  }

  return async (recorded) => {
    const { decision, event, principal } = recorded;
    const basis = recorded.basis ?? basisBefore(recorded);
    // 0 stands for 1: when there was no other set, none was named.
    const rules = basis.rules || 1;
    if (!knowsRules(rules))
      throw new Underivable(`it was taken by rule set ${rules}, which this version does not have`);
    const position = Number(basis.position);
    const reads = past.at(position);
    const work = workOf(recorded, position);
    const digests = computationDigests(work);
    const caller = callerOf(principal, basis);
    const exclusionsAt = Number(basis.exclusionsPosition ?? basis.position);
    const lineageAt = Number(basis.lineagePosition ?? basis.position);
    const exclusions = exclusionRulesAsOf(
      await standingAt(exclusionsAt),
      { exclusions: past.at(exclusionsAt).exclusions, lineage: past.at(lineageAt).lineage, jobs: reads.jobs },
      ranges,
      exclusionsAt,
    );
    const commitsAt = Number(basis.commitsPosition ?? basis.position);
    const repositoriesOf = [...(basis.known?.names ?? []), ...(basis.administered?.names ?? [])];
    const lists = listsOf(position, commitsAt, repositoriesOf);
    const filtering = basis.filters.length > 0;
    const filters = filtering
      ? await resolvedAgain(
          { repositories, lists, images: reads.images },
          basis,
          event.scriptVersion,
          digests.parameters,
          principal,
        )
      : undefined;
    const accepted = await acceptedAgain(repositories, recorded, work.repository, filtering);
    const terms: ReuseTerms<CandidateFacts> = {
      ...(filters && { failedFilter: (candidate: CandidateFacts) => candidate.failedFilter }),
      rules,
      principal,
      acceptsCommit: accepted.accepts,
      acceptedCommits: accepted.description,
      dockerImageLocator: basis.dockerImageLocator,
      arvadosSdkVersion: basis.arvadosSdkVersion,
      leaveLfsPointers: !basis.refuseLfsPointers,
      leaveSubmodules: !basis.refuseSubmodules,
      reuseIfOutputsDiffer: basis.outputsMayDiffer,
      ...(basis.outputRequired && { outputRequired: true }),
      ...(basis.ownUnfinishedOnly && { ownUnfinishedOnly: true }),
      requiredLabels: labelsText(basis.requiredLabels),
      ...(basis.imagesStated && { imagesStated: true }),
      ...(basis.noChecks && { noChecks: true }),
      ...(basis.supersede && { supersede: true }),
      ...(basis.secretsCompared && { secrets: secretsText(basis.secrets) }),
      ...(basis.secretsUngranted && { secretsUngranted: true }),
      platform: basis.platform,
      sandbox: basis.sandbox,
      ...(basis.codePaths.length > 0 && {
        codePaths: codePathsText(basis.codePaths),
        codeDigest: basis.codeDigest,
        excludedCode: new Set(basis.excludedCodeDigests),
      }),
      ...(basis.oldestResult && { oldestResult: timestampMs(basis.oldestResult) }),
      ...(basis.oldestHeartbeat && { oldestHeartbeat: timestampMs(basis.oldestHeartbeat) }),
    };
    const wanted: Wanted = {
      ...(filters && { filters }),
      caller,
      request: create(CreateJobRequestSchema, work),
      commit: event.scriptVersion,
      dockerImageLocator: basis.dockerImageLocator,
      arvadosSdkVersion: basis.arvadosSdkVersion,
      digests,
      terms,
      resolutions: decision.resolutions,
      ...(basis.codePaths.length > 0 && { code: { paths: basis.codePaths, entries: [], digest: basis.codeDigest } }),
      ...(basis.inputs.length > 0 && { inputs: { texts: basis.inputs, settled: true } }),
    };
    const plain = new Set(basis.plainCommits);
    const find = reusableFinder(
      {
        ...logAsOf(position, reads),
        streams: streamsOf(basis, position),
        lists,
        repositories: { isPlain: async (_, commit) => plain.has(commit) },
      },
      exclusions,
    );
    const found = await find(wanted);
    if (found.record) return reused(found.record.job, found.decision, decision.resolutions);
    const uuid = jobUuid(digests.computation, found.lastRun + 1);
    return createdNoMatch(uuid, found.decision, decision.resolutions);
  };

  type Work = { readonly repository: string; readonly script: string; readonly scriptParameters: JsonObject };

  /** What was asked for, as far as it decides on candidates: with filters, the job that was the answer has equal parameters. */
  function workOf({ event }: RecordedDecision, position: Position): Work {
    if (event.$typeName === 'memoir.events.v1.JobRequested') {
      const { repository, script, scriptParameters = {} } = event;
      return { repository, script, scriptParameters };
    }
    const row = past.at(position).jobs.get(event.uuid);
    if (!row) throw new NoSuchAnswer(`job ${event.uuid} was not there at position ${position}`);
    const { repository, script } = row;
    return { repository, script, scriptParameters: JSON.parse(row.script_parameters) as JsonObject };
  }
}

/** The decision cannot be right, since the job that it chose was not there. */
export class NoSuchAnswer extends Error {}

function callerOf(principal: string, { ownJobsOnly, known, administered }: DecisionBasis): Caller {
  const all = unrestricted(principal);
  const access: Access = {
    ...all,
    readsAll: known === undefined,
    knows: known ? (repository) => known.names.includes(repository) : () => !ownJobsOnly,
    ...(administered && {
      administersAll: false,
      administers: (repository: string) => administered.names.includes(repository),
    }),
  };
  return { principal, access, requestId: 'audit' };
}

/** What an older version, which recorded no basis, may have decided from: the log before the event. */
function basisBefore({ recorded, decision }: RecordedDecision): DecisionBasis {
  const resolved = (...fields: string[]) =>
    decision.resolutions.find(({ field }) => fields.includes(field))?.resolved ?? '';
  if (decision.resolutions.some(({ field }) => field.startsWith('filters['))) {
    throw new Underivable('it was taken by filters, which the version that recorded it did not record');
  }
  return create(DecisionBasisSchema, {
    position: BigInt(recorded.position - 1),
    dockerImageLocator: resolved('runtime_constraints.docker_image', 'default_docker_image'),
    arvadosSdkVersion: resolved('runtime_constraints.arvados_sdk_version'),
  });
}

/** The commits that were accepted, by the commits that the refspecs of the request named then. */
async function acceptedAgain(
  repositories: Repositories,
  { event: { scriptVersion: commit }, decision: { resolutions } }: RecordedDecision,
  repository: string,
  filtering: boolean,
): Promise<AcceptedCommits> {
  const minimum = resolutions.find(({ field }) => field === 'minimum_script_version')?.resolved ?? '';
  const excludes = resolutions.filter(({ field }) => field.startsWith('exclude_script_versions['));
  if (filtering || (minimum === '' && excludes.length === 0)) {
    return { commit, exact: true, accepts: (candidate) => candidate === commit, description: commit };
  }
  const excludeScriptVersions = excludes.map(({ resolved }) => resolved);
  return acceptedCommits(
    repositories,
    { repository, scriptVersion: commit, minimumScriptVersion: minimum, excludeScriptVersions },
    [],
  );
}
