import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { codePathsText } from './code/code-paths.js';
import { byCodePaths, byScriptVersion, type CodeFacts, type CodeTerms } from './code/rules.js';
import { emptyOutput } from './empty-output.js';
import { quote } from './errors.js';
import { byInputs, type InputFacts, type InputTerms } from './inputs/lacked-inputs.js';
import { type JobRecord, stateName } from './job.js';
import { addressesOf } from './outputs/addresses.js';
import { compareOutputs, type Difference } from './outputs/differences.js';
import { type Losing, lossOf } from './outputs/losses.js';
import { askedPlace, ranInOf } from './ran/ran-in.js';
import { byPlace, byRanImage, type PlaceFacts, type PlaceTerms } from './ran/rules.js';
import { type AgeTerms, byAge } from './results/age.js';
import {
  bySupersedingRequest,
  type SupersedingFacts,
  type SupersedingTerms,
  supersededBy,
  superseding,
} from './results/superseded.js';
import { secretsText } from './secrets/grants.js';

/** Where and when the attempt ran that completed a job, or runs it. Times are milliseconds since 1970-01-01T00:00Z. */
export type Ran = {
  /** Principal of the worker. */
  readonly worker: string;
  /** What it calls itself beside that; empty where it does not. */
  readonly workerName: string;
  readonly from: number;
  /** Absent while it runs. */
  readonly until?: number;
};

/** What the rules look at in a past job with the same script_parameters. */
export type CandidateFacts = PlaceFacts &
  InputFacts &
  CodeFacts &
  SupersedingFacts &
  Losing & {
    readonly owner: string;
    readonly nondeterministic: boolean;
    /** Whether it is a second run of another job, to compare what both give; absent: no. */
    readonly isCheck?: boolean;
    /** Whether pointers of git-lfs in its commit are left, and do not fail it. */
    readonly leaveLfsPointers: boolean;
    /** Whether submodules of its commit are left, and do not fail it. */
    readonly leaveSubmodules: boolean;
    readonly deleted: boolean;
    readonly output: string;
    /** The address that the same files have as a manifest, where `output` is that of a tree; absent otherwise. */
    readonly outputV1?: string;
    readonly log: string;
    /** When its worker last showed a sign of life, in milliseconds since 1970-01-01T00:00Z; absent unless known and running. */
    readonly lastHeartbeat?: number;
    /** Labels that it requires of a worker, as `labelsText` gives them; absent or empty: none. */
    readonly requiredLabels?: string;
    /** Where and when it ran, or runs; absent unless it is complete or running. */
    readonly ran?: Ran;
    /** Its repository, where that may be another than the request's. */
    readonly repository?: string;
    /** With filters: the first that it does not match, and the values compared, for people. */
    readonly failedFilter?: string;
  };

/** What a request accepts. */
export type ReuseTerms<C extends CandidateFacts = CandidateFacts> = PlaceTerms &
  InputTerms &
  CodeTerms &
  SupersedingTerms &
  AgeTerms & {
    /** Stands for all the rest of the terms, so that what was decided by it once holds for the same candidates again. */
    readonly key?: string;
    /** Number of the set of rules to decide by; absent: 1. */
    readonly rules?: number;
    /** Who asks. */
    readonly principal: string;
    /**
     * With filters: the first that a candidate does not match, for people. They stand in the place of the rules on commit, image
     * and SDK.
     */
    readonly failedFilter?: (candidate: C) => string | undefined;
    /** The standing exclusion that a candidate is under, for people. */
    readonly exclusion?: (candidate: C) => string | undefined;
    /** Whether of unfinished candidates only the principal's own are accepted. By rule set 1 that is always so. */
    readonly ownUnfinishedOnly?: boolean;
    /** Labels that the request requires of a worker, as candidates have them; absent or empty: none. */
    readonly requiredLabels?: string;
    /** The oldest last heartbeat that is accepted of a running candidate, in milliseconds since 1970-01-01T00:00Z. */
    readonly oldestHeartbeat?: number;
    /** The locator that the request's own docker_image resolves to now; empty if it has none. */
    readonly dockerImageLocator: string;
    /** The commit that the request's own arvados_sdk_version resolves to; empty if it has none, and then any is accepted. */
    readonly arvadosSdkVersion: string;
    /** Whether the request leaves pointers of git-lfs; absent: yes. */
    readonly leaveLfsPointers?: boolean;
    /** Whether the request leaves submodules; absent: yes. */
    readonly leaveSubmodules?: boolean;
    /** Whether second runs of other jobs, to compare what they give, are passed over; absent: no. */
    readonly noChecks?: boolean;
    /** Whether a job that is Complete with an empty output is passed over. */
    readonly outputRequired?: boolean;
    /**
     * Whether a commit is known to have neither pointers of git-lfs nor submodules, so that it does not matter whether they are left; absent:
     * that is known of none.
     */
    readonly isPlain?: (commit: string) => boolean;
    /** Whether a finished job is reused although others of the same work have another output. */
    readonly reuseIfOutputsDiffer: boolean;
  };

/** Why a candidate is not the answer. */
export type RuledOut = { readonly rule: Rule; readonly detail: string };

/** A candidate and what the rules make of it; `ruledOut` is absent for the answer. */
export type Verdict<C extends CandidateFacts> = { readonly candidate: C; readonly ruledOut?: RuledOut };

/** What the rules conclude. */
export type ReuseDecision<C extends CandidateFacts> = {
  /** The answer; absent if a job must be created. */
  readonly chosen?: C;
  /** One for each candidate, in the order given. */
  readonly verdicts: readonly Verdict<C>[];
  /** With filters: how many candidates beside these match one of them not. */
  readonly unlisted?: number;
  /** Number of the set of rules that it was decided by; absent: 1. */
  readonly rules?: number;
};

/**
 * Decides by rule set 1 which of the candidates, given oldest first and all with the request's script_parameters, is the same work.
 * The rules and their order are those of "Reuse rules" in docs/architecture.md; each candidate is ruled out by the first it meets.
 */
export function decideBySet1<C extends CandidateFacts>(
  candidates: readonly C[],
  terms: ReuseTerms<C>,
): ReuseDecision<C> {
  return decide(candidates, terms, { ofRun: byOwnRun, losing: false, superseding: false });
}

/** The same by rule set 2, in which unfinished jobs of others are accepted, unless they are to run on other workers. */
export function decideBySet2<C extends CandidateFacts>(
  candidates: readonly C[],
  terms: ReuseTerms<C>,
): ReuseDecision<C> {
  return decide(candidates, terms, { ofRun: byRun, losing: true, superseding: true });
}

/** What sets of rules differ in. */
type Varying = {
  /** What rules an unfinished candidate out. */
  readonly ofRun: (candidate: CandidateFacts, terms: ReuseTerms<never>) => RuledOut | undefined;
  /** Whether it matters that an output or log is lost. */
  readonly losing: boolean;
  /** Whether it matters that a run was asked for in the place of earlier ones. */
  readonly superseding: boolean;
};

function decide<C extends CandidateFacts>(
  candidates: readonly C[],
  terms: ReuseTerms<C>,
  varying: Varying,
): ReuseDecision<C> {
  const alone = candidates.map((candidate) => ruleOut(candidate, terms, varying));
  const places = varying.superseding ? superseding(candidates, (_, i) => !alone[i]) : undefined;
  const first = candidates.map((candidate, i) => {
    if (alone[i] || candidate.state !== JobState.COMPLETE) return alone[i];
    const later = places?.by(candidate);
    return later ? supersededBy(later) : byAge(candidate, terms);
  });
  const left = candidates.filter((_, i) => !first[i]);
  const lost = candidates.filter((candidate, i) => first[i]?.rule === Rule.OUTPUT_LOST && !places?.by(candidate));
  const { contenders, difference, replacements } = compareOutputs(
    left,
    lost,
    ({ state }) => state === JobState.COMPLETE,
    places?.isApart,
  );
  const differing = terms.reuseIfOutputsDiffer ? undefined : difference;
  const chosen =
    (differing ? undefined : contenders[0]) ??
    left.find(({ state }) => state === JobState.RUNNING) ??
    left.find(({ state }) => state === JobState.QUEUED);
  const verdicts = candidates.map((candidate, i): Verdict<C> => {
    if (candidate === chosen) return { candidate };
    const ruledOut = first[i] ?? passedOver(candidate, differing, replacements.get(candidate), chosen);
    return { candidate, ruledOut };
  });
  return { ...(chosen && { chosen }), verdicts };
}

/** The first rule that rules a candidate out by what it is, without regard to the others. */
function ruleOut<C extends CandidateFacts>(
  candidate: C,
  terms: ReuseTerms<C>,
  { ofRun, losing, superseding }: Varying,
): RuledOut | undefined {
  const { state } = candidate;
  const otherPaths = byCodePaths(candidate, terms);
  if (otherPaths) return otherPaths;
  const unasked = terms.failedFilter ? byFilter(candidate, terms.failedFilter) : byVersions(candidate, terms);
  const otherwise = unasked ?? byCheckout(candidate, terms) ?? byPlace(candidate, terms) ?? byInputs(candidate, terms);
  if (otherwise) return otherwise;
  if (candidate.nondeterministic) return out(Rule.NONDETERMINISTIC, 'it was declared nondeterministic');
  if (terms.noChecks && candidate.isCheck)
    return out(Rule.CHECK, 'it runs another job again to compare what both give');
  if (candidate.deleted) return out(Rule.DELETED, 'it was deleted');
  const exclusion = terms.exclusion?.(candidate);
  if (exclusion !== undefined) return out(Rule.EXCLUDED, exclusion);
  if (state === JobState.FAILED || state === JobState.CANCELLED) return out(Rule.STATE, `it is ${stateName(state)}`);
  const passed = superseding ? bySupersedingRequest(candidate, terms) : undefined;
  if (state !== JobState.COMPLETE) return passed ?? ofRun(candidate, terms);
  return byResult(candidate, terms) ?? (losing ? byLoss(candidate) : undefined) ?? passed;
}

function byLoss(candidate: CandidateFacts): RuledOut | undefined {
  const loss = lossOf(candidate);
  return loss && out(Rule.OUTPUT_LOST, loss.detail);
}

function byFilter<C>(candidate: C, failed: (candidate: C) => string | undefined): RuledOut | undefined {
  const detail = failed(candidate);
  return detail === undefined ? undefined : out(Rule.FILTER, detail);
}

function byVersions(candidate: CandidateFacts, terms: ReuseTerms<never>): RuledOut | undefined {
  const otherCode = byScriptVersion(candidate, terms);
  if (otherCode) return otherCode;
  if (candidate.dockerImageLocator !== terms.dockerImageLocator) {
    const [its, ours] = [candidate.dockerImageLocator, terms.dockerImageLocator].map((text) => quote(text));
    return out(Rule.DOCKER_IMAGE_LOCATOR, `its docker_image_locator is ${its}, accepted is ${ours}`);
  }
  if (terms.arvadosSdkVersion !== '' && candidate.arvadosSdkVersion !== terms.arvadosSdkVersion) {
    const its = quote(candidate.arvadosSdkVersion);
    return out(Rule.ARVADOS_SDK_VERSION, `its arvados_sdk_version is ${its}, accepted is ${terms.arvadosSdkVersion}`);
  }
  return undefined;
}

/**
 * What a candidate leaves and the request refuses, or the other way. A job that refused to leave them and is complete met none, so that it
 * is what one that leaves them would be.
 */
export function otherCheckout(
  candidate: CandidateFacts,
  terms: ReuseTerms<never>,
): 'pointers of git-lfs' | 'submodules' | undefined {
  const { leaveLfsPointers = true, leaveSubmodules = true } = terms;
  const differs = (its: boolean, ours: boolean) => its !== ours && (its || candidate.state !== JobState.COMPLETE);
  if (differs(candidate.leaveLfsPointers, leaveLfsPointers)) return 'pointers of git-lfs';
  return differs(candidate.leaveSubmodules, leaveSubmodules) ? 'submodules' : undefined;
}

function byCheckout(candidate: CandidateFacts, terms: ReuseTerms<never>): RuledOut | undefined {
  const what = otherCheckout(candidate, terms);
  if (what === undefined || terms.isPlain?.(candidate.scriptVersion)) return undefined;
  const its = what === 'submodules' ? candidate.leaveSubmodules : candidate.leaveLfsPointers;
  return out(
    Rule.CHECKOUT,
    its ? `it leaves ${what}, which the request refuses` : `${what} fail it, which the request leaves`,
  );
}

function byResult(candidate: CandidateFacts, terms: ReuseTerms<never>): RuledOut | undefined {
  if (candidate.output === '') return out(Rule.NO_OUTPUT, 'it is Complete without an output');
  if (terms.outputRequired && addressesOf(candidate).includes(emptyOutput)) {
    return out(Rule.NO_OUTPUT, 'its output is empty, and the request requires one');
  }
  if (candidate.log === '') return out(Rule.NO_LOG, 'it is Complete without a log');
  return byRanImage(candidate, terms);
}

function byOwnRun(candidate: CandidateFacts, terms: ReuseTerms<never>): RuledOut | undefined {
  return byOwner(candidate, terms) ?? byHeartbeat(candidate, terms);
}

function byRun(candidate: CandidateFacts, terms: ReuseTerms<never>): RuledOut | undefined {
  const otherwise = (terms.ownUnfinishedOnly && byOwner(candidate, terms)) || byLabels(candidate, terms);
  return otherwise ?? byHeartbeat(candidate, terms);
}

function byOwner({ state, owner }: CandidateFacts, { principal }: ReuseTerms<never>): RuledOut | undefined {
  if (owner === principal) return undefined;
  return out(Rule.OWNER, `it is ${stateName(state)} and belongs to ${quote(owner)}, not to ${quote(principal)}`);
}

function byLabels(
  { requiredLabels: its = '' }: CandidateFacts,
  { requiredLabels: ours = '' }: ReuseTerms<never>,
): RuledOut | undefined {
  if (its === ours) return undefined;
  const [has, asked] = [its, ours].map((labels) => (labels === '' ? 'no labels' : labels));
  return out(Rule.LABELS, `it requires ${has} of a worker, the request ${asked}`);
}

function byHeartbeat({ lastHeartbeat }: CandidateFacts, { oldestHeartbeat }: ReuseTerms<never>): RuledOut | undefined {
  if (lastHeartbeat !== undefined && oldestHeartbeat !== undefined && lastHeartbeat < oldestHeartbeat) {
    const [last, oldest] = [lastHeartbeat, oldestHeartbeat].map((time) => new Date(time).toISOString());
    return out(Rule.HEARTBEAT, `its last heartbeat was at ${last}, accepted is ${oldest} or later`);
  }
  return undefined;
}

function passedOver<C extends CandidateFacts>(
  candidate: C,
  differing: Difference<C> | undefined,
  replacement: C | undefined,
  chosen: C | undefined,
): RuledOut {
  if (differing && candidate.state === JobState.COMPLETE) {
    return out(
      Rule.OUTPUTS_DIFFER,
      `complete jobs disagree: ${differing.one.uuid} gave ${quote(differing.one.output)}, ` +
        `${differing.other.uuid} gave ${quote(differing.other.output)}`,
    );
  }
  if (replacement) {
    return out(
      Rule.NOT_PREFERRED,
      `${replacement.uuid}, which was requested while its output was lost, is preferred for good`,
    );
  }
  const preferred = chosen
    ? `${chosen.uuid}, which is ${stateName(chosen.state)}, is preferred`
    : 'another is preferred';
  return out(Rule.NOT_PREFERRED, preferred);
}

function out(rule: Rule, detail: string): RuledOut {
  return { rule, detail };
}

/** Required labels as the rules compare them: JSON of the pairs by name; empty for none. */
export function labelsText(labels: Readonly<Record<string, string>>): string {
  const names = Object.keys(labels);
  return names.length === 0 ? '' : JSON.stringify(names.sort().map((name) => [name, labels[name]]));
}

/** The rule as people and filters spell it, in lower case: `script_version`, `outputs_differ`. */
export function ruleName(rule: Rule): string {
  return (Rule[rule] ?? String(rule)).toLowerCase();
}

/** What the rules look at in a job. */
export function factsOf({ job, deleted, leaseMs, attempt }: JobRecord): CandidateFacts {
  const requiredLabels = labelsText(job.requiredLabels);
  const ran = ranBy(job.state, attempt);
  const asked = askedPlace(job.runtimeConstraints);
  const ranIn = job.state === JobState.COMPLETE ? ranInOf(job.ran) : undefined;
  return {
    ...(ran && { ran }),
    ...(job.leaseExpiresAt && { lastHeartbeat: timestampMs(job.leaseExpiresAt) - leaseMs }),
    uuid: job.uuid,
    owner: job.owner,
    state: job.state,
    scriptVersion: job.scriptVersion,
    ...(job.codePaths.length > 0 && { codePaths: codePathsText(job.codePaths), codeDigest: job.codeDigest }),
    dockerImageLocator: job.dockerImageLocator,
    arvadosSdkVersion: job.arvadosSdkVersion,
    nondeterministic: job.nondeterministic,
    ...(job.checkOf !== '' && { isCheck: true }),
    ...(job.supersede && { supersedes: true }),
    leaveLfsPointers: job.leaveLfsPointers,
    leaveSubmodules: job.leaveSubmodules,
    deleted,
    output: job.output,
    ...(job.outputV1 !== '' && { outputV1: job.outputV1 }),
    log: job.log,
    ...(requiredLabels !== '' && { requiredLabels }),
    ...(asked && { asked }),
    ...(ranIn && { ranIn }),
    ...(job.secrets.length > 0 && { secrets: secretsText(job.secrets) }),
    ...(job.inputs.length > 0 && { inputs: new Set(job.inputs.map(({ pointer }) => pointer)) }),
  };
}

function ranBy(state: JobState, attempt: JobRecord['attempt']): Ran | undefined {
  if (!attempt || attempt.worker === '' || (state !== JobState.RUNNING && state !== JobState.COMPLETE))
    return undefined;
  const { worker, workerName, startedAt, ended } = attempt;
  const from = startedAt ? timestampMs(startedAt) : 0;
  if (state === JobState.RUNNING) return { worker, workerName, from };
  return { worker, workerName, from, until: ended?.at ? timestampMs(ended.at) : 0 };
}

/** Whether two ran at the same place at the same time. */
export function isSameRun(one: Ran | undefined, other: Ran | undefined): boolean {
  return one?.worker === other?.worker && one?.workerName === other?.workerName && one?.from === other?.from;
}
