import type { JsonObject } from '@bufbuild/protobuf';
import type { Exclusion } from '../../../gen/memoir/jobs/v1/exclusion_pb.js';
import type { PastReads } from '../../../projections/history/as-of.js';
import type { Access } from '../../domain/access.js';
import type { CandidateFacts } from '../../domain/reuse.js';
import type { Position } from '../../eventstore/port.js';

/** An exclusion that stands, without its reason, which may be long. */
export type Held = Omit<Exclusion, 'reason'>;

/** What is looked at in a candidate; it is of the request's repository unless it says of which. */
export type Questioned = Pick<
  CandidateFacts,
  'uuid' | 'scriptVersion' | 'dockerImageLocator' | 'output' | 'outputV1' | 'ran'
> & {
  readonly repository?: string;
};

/** What a request asks about. */
export type Question = {
  readonly repository: string;
  /** Gives the parameters of the request, and of all its candidates; asked only if they matter. */
  readonly parameters: () => JsonObject;
  readonly candidates: readonly Questioned[];
};

/** Why a candidate is ruled out. */
export type ExcludedBy = {
  readonly exclusion: Held;
  /** The output that it took, and the job that gave it (empty if none did), if it is hit through another job. */
  readonly taken?: { readonly output: string; readonly uuid: string };
};

/** Tells by which exclusion a candidate is ruled out. */
export type ExclusionRule = (candidate: Questioned) => ExcludedBy | undefined;

/** Positions of the log that the rules are of. */
export type RulesPosition = {
  /** The exclusions are those up to here. */
  readonly standing: Position;
  /** The last of them that was ordered or lifted. */
  readonly changed: Position;
  /** What those with cascade hit through other jobs is that up to here; undefined if there are none. */
  readonly followed: Position | undefined;
};

/** The standing exclusions as decisions obey them. */
export type DecidingExclusions = {
  /** False if there certainly is none; costs nothing. */
  any(): boolean;
  /**
   * The rule for the candidates of a request: by which exclusion one is ruled out; undefined if none stands. It knows what this
   * process wrote. The one named by `except` is passed over.
   * @throws MemoirError UNAVAILABLE if a history that an exclusion needs is not loaded yet
   */
  ruleFor(question: Question, except?: string): Promise<ExclusionRule | undefined>;
  /** The same for people, without what the principal may not know of: other jobs, and exclusions of other repositories. */
  textOf(excluded: ExcludedBy, access: Access): string;
  /** Of which moment the rules are. */
  position(): RulesPosition;
};

/** The exclusions as decisions of a moment obeyed them. */
export type ExclusionsAsOf = (reads: PastReads, position: Position) => Promise<DecidingExclusions>;
