import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type DecisionBasis,
  DecisionBasisSchema,
  type KnownRepositories,
  KnownRepositoriesSchema,
} from '../../../gen/memoir/jobs/v1/decision_pb.js';
import type { WantedInput } from '../../domain/inputs/lacked-inputs.js';
import type { Position } from '../../eventstore/port.js';
import type { RulesPosition } from '../ports/exclusions.js';
import type { Wanted } from './wanted.js';

/** A candidate that was looked up in its own stream, and the revision that this was at. */
export type FreshCandidate = { readonly uuid: string; readonly revision: number };

/** What a decision was taken from, beside its request: moments of the log. */
export type Basis = {
  /** The candidates are those up to here. */
  readonly position: Position;
  readonly exclusions: RulesPosition;
  /** Candidates that were looked up later. */
  readonly fresh: readonly FreshCandidate[];
  /** Commits that counted as plain. */
  readonly plain: readonly string[];
  /** With filters on commits: the jobs among whose commits they chose are those up to here. */
  readonly commits?: Position;
  /** With filters: the repositories whose jobs the caller may read, unless it may read all. */
  readonly known?: readonly string[];
  /** With filters on fields that are not told to every reader: the repositories that the caller administers, unless it knows all. */
  readonly administered?: readonly string[];
  /** Where the answer was not looked up in its own stream: how long before, at most, all of the log was known, in milliseconds. */
  readonly logEndWithin?: number;
  /** Whether it could not be told if the answer's output and log is there. */
  readonly contentUnchecked?: boolean;
  /** Inputs for want of which candidates were ruled out; absent if none was. */
  readonly inputs?: readonly WantedInput[];
};

/** What is recorded of it, so that the decision can be taken again. */
export function basisMessage(wanted: Wanted, basis: Basis): DecisionBasis {
  const { caller, request, dockerImageLocator, arvadosSdkVersion, terms, filters } = wanted;
  const {
    position,
    exclusions,
    fresh,
    plain,
    commits,
    known,
    administered,
    logEndWithin,
    contentUnchecked = false,
    inputs,
  } = basis;
  // One literal, since every answer has a basis: an object to which so many fields are added one by one is a slow one for V8, to make and to read.
  const message: DecisionBasis = {
    $typeName: DecisionBasisSchema.typeName,
    position: BigInt(position),
    fresh: [],
    dockerImageLocator,
    arvadosSdkVersion,
    filters: [],
    commits: [],
    outputsMayDiffer: terms.reuseIfOutputsDiffer,
    ownJobsOnly: !filters && !caller.access.knows(request.repository),
    // Set 1 is not named, as it was not when there was no other.
    rules: terms.rules === 1 ? 0 : (terms.rules ?? 0),
    refuseLfsPointers: terms.leaveLfsPointers === false,
    refuseSubmodules: terms.leaveSubmodules === false,
    imagePrefixes: false,
    outputRequired: terms.outputRequired ?? false,
    plainCommits: [...plain],
    ownComponents: false,
    ownUnfinishedOnly: terms.ownUnfinishedOnly ?? false,
    requiredLabels: request.requiredLabels,
    imagesStated: terms.imagesStated ?? false,
    platform: terms.platform ?? '',
    sandbox: terms.sandbox ?? '',
    contentUnchecked,
    inputs: [],
    noChecks: terms.noChecks ?? false,
    codePaths: [],
    codeDigest: '',
    excludedCodeDigests: [],
    secretsCompared: terms.secrets !== undefined,
    secrets: [],
    secretsUngranted: terms.secretsUngranted === true,
    supersede: terms.supersede ?? false,
  };
  if (wanted.secrets) message.secrets = create(DecisionBasisSchema, { secrets: [...wanted.secrets] }).secrets;
  // Where no exclusion changed in between, both are of one moment.
  const together = exclusions.changed <= position && position <= exclusions.standing;
  if (!together) message.exclusionsPosition = BigInt(exclusions.standing);
  if (exclusions.followed !== undefined) message.lineagePosition = BigInt(exclusions.followed);
  if (fresh.length > 0) message.fresh = create(DecisionBasisSchema, { fresh: [...fresh] }).fresh;
  if (inputs) {
    message.inputs = create(DecisionBasisSchema, {
      inputs: inputs.map(({ pointer, hash }) => ({ pointer, hash })),
    }).inputs;
  }
  if (wanted.code) {
    message.codePaths = [...wanted.code.paths];
    message.codeDigest = wanted.code.digest;
    message.excludedCodeDigests = [...(terms.excludedCode ?? [])];
  }
  if (terms.oldestHeartbeat !== undefined) message.oldestHeartbeat = timestampFromMs(terms.oldestHeartbeat);
  if (terms.oldestResult !== undefined) message.oldestResult = timestampFromMs(terms.oldestResult);
  if (logEndWithin !== undefined) message.logEndWithin = durationFromMs(logEndWithin);
  if (!filters) return message;
  message.filters = request.filters;
  message.ownComponents = filters.ownComponents;
  message.imagePrefixes = request.filters.some(({ operator }) => operator.endsWith('in docker'));
  message.commits = create(DecisionBasisSchema, {
    commits: filters.commits.map(({ filter, commits: named, end = '', codeDigests = [] }) => ({
      filter,
      commits: [...named],
      end,
      codeDigests: [...codeDigests],
    })),
  }).commits;
  if (commits !== undefined && commits !== position) message.commitsPosition = BigInt(commits);
  if (known) message.known = named(known);
  if (administered) message.administered = named(administered);
  return message;
}

function named(repositories: readonly string[]): KnownRepositories {
  return create(KnownRepositoriesSchema, { names: [...repositories] });
}
